//go:build !amd64

package lanes

// wide says that there is an implementation of compress and digest: not here.
var wide = false

func compress(*[8][Lanes]uint32, *[Lanes]*byte) { panic("lanes: compress without wide registers") }

func digest(*[8][Lanes]uint32, *[Lanes]*[32]byte) { panic("lanes: digest without wide registers") }
