package lanes

import "golang.org/x/sys/cpu"

// wide says that this processor has what lanes_amd64.s needs. Only tests change it.
var wide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW

// compress takes one block of every message into its hash.
func compress(state *[8][Lanes]uint32, block *[Lanes]*byte) { compressAVX512(state, block) }

// digest writes the hashes as bytes.
func digest(state *[8][Lanes]uint32, out *[Lanes]*[32]byte) { digestAVX512(state, out) }

//go:noescape
func compressAVX512(state *[8][Lanes]uint32, block *[Lanes]*byte)

//go:noescape
func digestAVX512(state *[8][Lanes]uint32, out *[Lanes]*[32]byte)
