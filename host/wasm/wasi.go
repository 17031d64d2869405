package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// The ten WASI functions that a module compiled by the stock Go toolchain
// imports. None tells a guest anything but constants (invariant 1).

// wasiTime is what both clocks always say, in nanoseconds. Go's runtime stops if
// its clock says zero.
const wasiTime = 1_000_000_000

// errno is success, in WASI's words.
const wasiSuccess = 0

// maxVectors bounds the pieces of one fd_write.
const maxVectors = 1 << 10

// wasiNothing is args_get and environ_get: there are none to write.
func wasiNothing(_ *instance, s []uint64) { s[0] = wasiSuccess }

// wasiSizes is args_sizes_get and environ_sizes_get: none, of no bytes.
func wasiSizes(in *instance, s []uint64) {
	clear(in.view(s[0], 4))
	clear(in.view(s[1], 4))
	s[0] = wasiSuccess
}

// wasiClock is clock_time_get: the same time, for ever and on every clock.
func wasiClock(in *instance, s []uint64) {
	binary.LittleEndian.PutUint64(in.view(s[2], 8), wasiTime)
	s[0] = wasiSuccess
}

// wasiRandom is random_get: zeros.
func wasiRandom(in *instance, s []uint64) {
	clear(in.view(s[0], s[1]))
	s[0] = wasiSuccess
}

// wasiPoll is poll_oneoff: returns at once, nothing has happened.
func wasiPoll(in *instance, s []uint64) {
	clear(in.view(s[3], 4))
	s[0] = wasiSuccess
}

// wasiYield is sched_yield: there is nobody to yield to.
func wasiYield(_ *instance, s []uint64) { s[0] = wasiSuccess }

// wasiExit is proc_exit: a trap, which is also how a Go panic ends.
func wasiExit(in *instance, s []uint64) {
	in.stop(&stf.Trap{Reason: fmt.Sprintf("exited with status %d", uint32(s[0]))})
}

// wasiWrite is fd_write: the first abi.MaxLogBytes go to the log, and all of it
// counts as written.
func wasiWrite(in *instance, s []uint64) {
	if uint32(s[2]) > maxVectors {
		in.stop(&stf.Trap{Reason: fmt.Sprintf("fd_write of %d pieces, limit %d", uint32(s[2]), maxVectors)})
	}
	vectors := in.view(s[1], 8*uint64(uint32(s[2])))
	var line []byte
	var total uint32
	for ; len(vectors) > 0; vectors = vectors[8:] {
		piece := in.view(uint64(binary.LittleEndian.Uint32(vectors)), uint64(binary.LittleEndian.Uint32(vectors[4:])))
		total += uint32(len(piece))
		line = append(line, piece[:min(len(piece), abi.MaxLogBytes-len(line))]...)
	}
	binary.LittleEndian.PutUint32(in.view(s[3], 4), total)
	s[0] = wasiSuccess
	in.check(in.session.LogLine(line))
}
