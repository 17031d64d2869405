//go:build !wasip1

package rfq

import _ "embed" // for Wasm

// Wasm is the compiled module, rfq.wasm; tools/stfbuild makes it and a test
// compares it with its source.
//
//go:embed rfq.wasm
var Wasm []byte
