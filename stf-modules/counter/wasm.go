//go:build !wasip1

package counter

import _ "embed" // for Wasm

// Wasm is the compiled module, counter.wasm; tools/stfbuild makes it and a test
// compares it with its source.
//
//go:embed counter.wasm
var Wasm []byte
