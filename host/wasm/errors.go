package wasm

import (
	"errors"
	"fmt"
)

// The rules a module may break, wrapped by a [ModuleError].
var (
	ErrMalformed       = errors.New("malformed module")
	ErrImport          = errors.New("import not allowed")
	ErrExport          = errors.New("export missing or of the wrong type")
	ErrFeature         = errors.New("instruction or feature not allowed")
	ErrLimit           = errors.New("module limit exceeded")
	ErrMemory          = errors.New("memory declaration not allowed")
	ErrSegment         = errors.New("segment not allowed")
	ErrStart           = errors.New("start section not allowed")
	ErrVersion         = errors.New("unknown ABI version")
	ErrInit            = errors.New("initialisation failed")
	ErrNotReproducible = errors.New("initialisation is not reproducible")
	ErrInvalid         = errors.New("module does not validate")
)

// ErrClosed is returned by methods of a closed Program, Machine or Inspector.
var ErrClosed = errors.New("module is closed")

// ErrInputTooLarge is wrapped when the host is asked to pass a module more than
// abi.MaxInputBytes.
var ErrInputTooLarge = errors.New("module input too large")

// ModuleError is why a module may not run here: the rule, where in the file, and
// both values.
type ModuleError struct {
	Rule   error  // one of the errors above
	Where  string // "function 12 at offset 0x3a", "import kaizen.clock"
	Detail string
}

func (e *ModuleError) Error() string { return fmt.Sprintf("%v: %s: %s", e.Rule, e.Where, e.Detail) }

func (e *ModuleError) Unwrap() error { return e.Rule }

func refuse(rule error, where, format string, args ...any) *ModuleError {
	return &ModuleError{Rule: rule, Where: where, Detail: fmt.Sprintf(format, args...)}
}
