// Package wasm runs a state transition module in a sandbox: it is the
// [stf.Program] of a .wasm file. It owns what a module file may contain, the
// metering that makes the cost of guest work the same everywhere (README,
// invariant 7), the memory image that every block starts from (invariant 8), and
// the only import of wazero. stf-modules/ABI.md is the contract in prose.
//
// It must not import another adapter, nor hold state of a chain: what a host
// call may do is decided by [stf.Session], and this package only carries bytes.
//
//	Load: parse ─▶ check the rules ─▶ instrument ─▶ compile ─▶ _initialize twice,
//	      compare, keep the first memory image ─▶ schema
//	Machine: [put the image back] BeginBlock, Execute …, EndBlock   on one copy,
//	         Admit on another; Refresh puts it back beside the block before
//
// A Program may be used by any number of goroutines. A Machine or an Inspector
// belongs to one, but for a Machine's Refresh.
package wasm
