//go:build wasip1

// Command guest is the counter module as a WebAssembly program. It imports the
// module and the SDK, runs on the one thread a guest has, and does nothing but
// introduce one to the other:
//
//	_initialize ─▶ init ─▶ sdk.Run(counter.New())
package main

import (
	"github.com/kaizenchain/kaizen/stf-modules/counter"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

func init() { sdk.Run(counter.New()) }

func main() {}
