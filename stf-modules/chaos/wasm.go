//go:build !wasip1

package chaos

import _ "embed" // for Wasm

// Wasm is the compiled module, chaos.wasm; tools/stfbuild makes it and a test
// compares it with its source.
//
//go:embed chaos.wasm
var Wasm []byte
