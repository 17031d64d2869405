// Package modules is the set of compiled modules that ship inside the binary,
// by name.
//
// It imports the packages that embed them and nothing else; what a module does is
// not its business.
//
//	wasm, ok := modules.Lookup("rfq")
//
// Everything here may be called from any goroutine; nobody may write to the
// bytes.
package modules

import (
	"github.com/kaizenchain/kaizen/stf-modules/counter"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
)

// Names lists the modules, the default one first.
func Names() []string { return []string{"rfq", "counter"} }

// Lookup returns the compiled module of that name.
func Lookup(name string) (wasm []byte, ok bool) {
	switch name {
	case "rfq":
		return rfq.Wasm, true
	case "counter":
		return counter.Wasm, true
	default:
		return nil, false
	}
}
