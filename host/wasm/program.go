package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Engine is how guest code runs. Both give the same results (invariant 1).
type Engine int

// The engines.
const (
	Compiler    Engine = iota // machine code; amd64 and arm64
	Interpreter               // anywhere, about fifty times slower
)

func (e Engine) String() string {
	if e == Interpreter {
		return "interpreter"
	}
	return "compiler"
}

// Options says how to run a module.
type Options struct {
	Engine Engine
	// CacheDir keeps compiled modules between runs of the process; empty keeps
	// them in memory. Who can write to it can replace the code that runs.
	CacheDir string
	// Crypto answers hashes and recoveries. Required.
	Crypto stf.Crypto
	// Log gets what guests log, valid during the call; from any goroutine. Nil
	// drops it.
	Log func(line []byte)
	// Tracer is told what machines do; nil: nobody is.
	Tracer Tracer
}

// Program is a loaded module. It implements [stf.Program].
type Program struct {
	opts     Options
	hash     chain.Hash
	schema   *stf.Schema
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
	memMax   uint32
	globals  []string
	image    *image
	pool     pool

	mu     sync.Mutex
	users  int // machines, inspectors and one for the program itself
	closed bool
}

var _ stf.Program = (*Program)(nil)

// features is what guests may use: what the stock Go toolchain emits. wazero
// ties bulk memory to reference types, whose instructions the scanner refuses.
const features = api.CoreFeatureMutableGlobal | api.CoreFeatureSignExtensionOps |
	api.CoreFeatureNonTrappingFloatToIntConversion | api.CoreFeatureBulkMemoryOperations

// Load checks a module, compiles it and runs its initialisation. A module that
// breaks a rule gives a [ModuleError]; ctx bounds compilation only.
func Load(ctx context.Context, file []byte, opts Options) (*Program, error) {
	m, err := parse(file)
	if err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	ins, err := instrument(m)
	if err != nil {
		return nil, err
	}
	p := &Program{opts: opts, hash: sha256.Sum256(file), memMax: m.memMax, globals: ins.globals, users: 1}
	if err := p.prepare(ctx, m, ins.code); err != nil {
		return nil, errors.Join(err, p.release())
	}
	p.pool.init(p)
	return p, nil
}

// prepare compiles, makes the first image and reads the schema.
func (p *Program) prepare(ctx context.Context, m *module, code []byte) error {
	if err := p.compile(ctx, code); err != nil {
		return err
	}
	first, err := p.initialise(m)
	if err != nil {
		return err
	}
	again, err := p.initialise(m)
	if err != nil {
		return err
	}
	if err := first.compare(again); err != nil {
		return err
	}
	if p.image, err = first.freeze(); err != nil {
		return err
	}
	return p.readSchema()
}

func (p *Program) compile(ctx context.Context, code []byte) (err error) {
	cfg := wazero.NewRuntimeConfigCompiler()
	if p.opts.Engine == Interpreter {
		cfg = wazero.NewRuntimeConfigInterpreter()
	}
	p.cache = sharedCache()
	if p.opts.CacheDir != "" {
		if p.cache, err = wazero.NewCompilationCacheWithDir(p.opts.CacheDir); err != nil {
			return fmt.Errorf("module cache: %w", err)
		}
	}
	cfg = cfg.WithCoreFeatures(features).WithDebugInfoEnabled(false).WithCompilationCache(p.cache)
	p.runtime = wazero.NewRuntimeWithConfig(ctx, cfg)
	if err := provide(ctx, p.runtime, p.opts.Tracer != nil); err != nil {
		return err
	}
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	if p.compiled, err = p.runtime.CompileModule(ctx, code); err != nil {
		return refuse(ErrInvalid, "file", "%v", err)
	}
	return nil
}

// sharedCache is the process's in-memory cache: loading one module twice, as
// tests and tools do, compiles it once.
var sharedCache = sync.OnceValue(wazero.NewCompilationCache)

// snapshot is memory and globals of a copy that has just been initialised, and
// where it has its input area.
type snapshot struct {
	memory  []byte
	globals []uint64
	area    uint32
}

// initialise makes a copy and runs its initialisation.
func (p *Program) initialise(m *module) (*snapshot, error) {
	in, err := p.instantiate(nil)
	if err != nil {
		return nil, err
	}
	s, err := in.initialise(m)
	return s, errors.Join(err, in.close())
}

func (in *instance) initialise(m *module) (*snapshot, error) {
	for _, d := range m.data {
		copy(in.memory()[d.offset:], d.bytes)
	}
	if in.exports[callInitialize] != nil {
		if _, err := in.enter(callInitialize, 0); err != nil {
			return nil, err
		}
	}
	version, err := in.enter(callVersion, 0)
	if err != nil {
		return nil, err
	}
	if err := m.speaks(version); err != nil {
		return nil, err
	}
	area, err := in.enter(callInput, abi.InputAreaBytes)
	if err != nil {
		return nil, err
	}
	if in.room(area, abi.InputAreaBytes) == nil {
		return nil, refuse(ErrInit, "export "+abi.ExportInput, "returned %d, want the address of %d bytes of memory", area, abi.InputAreaBytes)
	}
	s := &snapshot{memory: bytes.Clone(in.memory()), area: uint32(area)}
	for _, g := range in.globals {
		s.globals = append(s.globals, g.Get())
	}
	return s, nil
}

// speaks checks the version of the contract that a module says it keeps to.
func (m *module) speaks(version uint64) error {
	if version < abi.OldestVersion || version > abi.Version {
		return refuse(ErrVersion, "export "+abi.ExportVersion, "returned %d, this host speaks %d to %d", version, abi.OldestVersion, abi.Version)
	}
	for _, f := range m.imports {
		if version < batchVersion && f.module == abi.ImportModule && f.name == abi.ImportBatch {
			return refuse(ErrVersion, "import "+f.module+"."+f.name, "version %d does not have it", version)
		}
	}
	return nil
}

// batchVersion is the version of the contract since which there is abi.ImportBatch.
const batchVersion = 3

// enter calls an export outside any block, while the first image is made.
func (in *instance) enter(id exportID, arg uint64) (uint64, error) {
	in.session.Start(exportNames[id], abi.PhaseNone, nil, nil, nil)
	in.begin(abi.HookBudget)
	result, err := in.invoke(in.exports[id], arg)
	if err != nil {
		code := in.stopped(err)
		reason := "trap"
		if in.trap != nil {
			reason = in.trap.Reason
		}
		return 0, refuse(ErrInit, "export "+exportNames[id], "code %#x: %s", code, reason)
	}
	return result, nil
}

// compare reports how two initialisations of one module differ.
func (s *snapshot) compare(t *snapshot) error {
	if len(s.memory) != len(t.memory) {
		return refuse(ErrNotReproducible, "memory", "%d bytes, then %d", len(s.memory), len(t.memory))
	}
	for i := range s.memory {
		if s.memory[i] != t.memory[i] {
			return refuse(ErrNotReproducible, fmt.Sprintf("memory at %#x", i), "%#x, then %#x", s.memory[i], t.memory[i])
		}
	}
	if !slices.Equal(s.globals, t.globals) {
		return refuse(ErrNotReproducible, "globals", "%v, then %v", s.globals, t.globals)
	}
	if s.area != t.area {
		return refuse(ErrNotReproducible, "export "+abi.ExportInput, "%#x, then %#x", s.area, t.area)
	}
	return nil
}

func (s *snapshot) freeze() (*image, error) {
	b, err := newBacking(s.memory)
	if err != nil {
		return nil, err
	}
	return &image{pages: uint32(len(s.memory) / pageBytes), globals: s.globals, area: s.area, bytes: b}, nil
}

// readSchema asks the module for its schema.
func (p *Program) readSchema() error {
	in, err := p.instantiate(p.image)
	if err != nil {
		return err
	}
	out, err := in.run(&call{export: callSchema, phase: abi.PhaseNone, budget: abi.HookBudget})
	if err == nil && out.Code != abi.CodeOK {
		err = refuse(ErrInit, "export "+abi.ExportSchema, "code %#x: %s", out.Code, out.Detail)
	}
	if err == nil {
		p.schema, err = stf.ParseSchema(out.Output)
	}
	return errors.Join(err, in.close())
}

// Hash is the SHA-256 of the file: the module's identity (invariant 6).
func (p *Program) Hash() chain.Hash { return p.hash }

// Schema is the module's description of itself.
func (p *Program) Schema() *stf.Schema { return p.schema }

// Close gives back what the program holds, at the latest when the last machine
// and inspector made from it is closed too. Running queries end first.
func (p *Program) Close() error {
	p.mu.Lock()
	already := p.closed
	p.closed = true
	p.mu.Unlock()
	if already {
		return nil
	}
	return errors.Join(p.pool.close(), p.release())
}

// use counts a machine or inspector.
func (p *Program) use() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.users++
	return nil
}

// release ends one use; the last one frees everything.
func (p *Program) release() error {
	p.mu.Lock()
	p.users--
	last := p.users == 0
	p.mu.Unlock()
	if !last {
		return nil
	}
	var errs []error
	ctx := context.Background()
	if p.compiled != nil {
		errs = append(errs, p.compiled.Close(ctx))
	}
	if p.runtime != nil {
		errs = append(errs, p.runtime.Close(ctx))
	}
	if p.cache != nil && p.opts.CacheDir != "" {
		errs = append(errs, p.cache.Close(ctx))
	}
	if p.image != nil {
		errs = append(errs, p.image.bytes.close())
	}
	return errors.Join(errs...)
}
