package wasm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// instance is one copy of a module: its own memory, globals and host session. It
// belongs to one goroutine at a time.
type instance struct {
	mod     api.Module
	mem     linear
	live    *[]byte // of mem
	exports [len(exportNames)]api.Function
	meter   api.MutableGlobal
	refused api.MutableGlobal
	globals []api.MutableGlobal
	image   *image // nil while the first image is being made

	session stf.Session
	tracer  Tracer // nil: nobody watches
	ctx     callContext
	stack   [1]uint64
	params  [abi.RequestParams]uint64 // of a request in a batch
	trap    *stf.Trap                 // why a host call stopped the guest
	hosting bool                      // a host call is running
	dirty   bool                      // called since the image was put back
}

// callContext carries the instance to its host calls: wazero passes on the
// context it is called with. It has no deadline and no values, which wazero asks
// for at every call.
type callContext struct{ in *instance }

func (*callContext) Deadline() (t time.Time, ok bool) { return }
func (*callContext) Done() <-chan struct{}            { return nil }
func (*callContext) Err() error                       { return nil }
func (*callContext) Value(any) any                    { return nil }

// instantiate makes a copy of the module from img, or an empty one if it is nil.
func (p *Program) instantiate(img *image) (*instance, error) {
	in := &instance{image: img}
	in.ctx.in = in
	in.session.Crypto, in.session.Log = p.opts.Crypto, p.opts.Log
	var bytes backing = portableBacking{}
	if img != nil {
		bytes = img.bytes
	}
	mem, err := bytes.memory(uint64(p.memMax) * pageBytes)
	if err != nil {
		return nil, err
	}
	in.mem, in.live = mem, mem.live()
	ctx := experimental.WithMemoryAllocator(context.Background(),
		experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory { return mem }))
	in.mod, err = p.runtime.InstantiateModule(ctx, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		mem.Free()
		return nil, fmt.Errorf("instantiate module: %w", err)
	}
	in.bind(p.globals)
	if img != nil {
		return in, in.grow(img)
	}
	return in, nil
}

// bind looks up what the host uses of the copy.
func (in *instance) bind(globals []string) {
	for i, name := range exportNames {
		in.exports[i] = in.mod.ExportedFunction(name)
	}
	in.meter = in.mod.ExportedGlobal(exportMeter).(api.MutableGlobal)
	in.refused = in.mod.ExportedGlobal(exportRefused).(api.MutableGlobal)
	for _, name := range globals {
		in.globals = append(in.globals, in.mod.ExportedGlobal(name).(api.MutableGlobal))
	}
}

// grow makes a new copy as large as img, whose memory it maps, and sets its
// globals.
func (in *instance) grow(img *image) error {
	mem := in.mod.Memory()
	have := mem.Size() / pageBytes
	if _, ok := mem.Grow(img.pages - have); !ok {
		return errors.Join(fmt.Errorf("grow a new copy from %d to %d pages: refused", have, img.pages), in.close())
	}
	in.setGlobals()
	return nil
}

func (in *instance) setGlobals() {
	for i, g := range in.globals {
		g.Set(in.image.globals[i])
	}
}

// memory is the guest's memory as it is.
func (in *instance) memory() []byte { return *in.live }

// grown reports whether the guest's memory is larger than its image: it cannot
// shrink, and memory.grow would answer differently than in a new copy.
func (in *instance) grown() bool { return len(in.memory()) != int(in.image.pages)*pageBytes }

// reset puts the image back. The copy must not have grown.
func (in *instance) reset() error {
	in.setGlobals()
	err := in.mem.reset()
	in.dirty = err != nil // whoever goes on after that tries again
	return err
}

func (in *instance) close() error { return in.mod.Close(context.Background()) }

// call is one export call: what runs, on what, with which input.
type call struct {
	export exportID
	phase  abi.Phase
	budget int64
	view   stf.View
	state  stf.State
	tx     *stf.Tx
	ctx    *abi.Context // before the body, or nil
	body   []byte
}

// run calls an export. The error is the host's: nothing the guest does causes
// one.
func (in *instance) run(c *call) (stf.Outcome, error) {
	if len(c.body) > abi.MaxInputBytes-abi.ContextBytes {
		return stf.Outcome{}, fmt.Errorf("%w: %s of %d bytes, limit %d", ErrInputTooLarge, exportNames[c.export], len(c.body), abi.MaxInputBytes-abi.ContextBytes)
	}
	in.session.Start(exportNames[c.export], c.phase, c.view, c.state, c.tx)
	in.begin(c.budget)
	code, err := in.guest(c)
	if err != nil {
		code = in.stopped(err)
		if in.tracer != nil {
			in.tracer.Trapped(err)
		}
	}
	reason := ""
	if in.trap != nil {
		reason = in.trap.Reason
	}
	return in.session.Finish(code, reason), nil
}

// begin fills the meter.
func (in *instance) begin(budget int64) {
	in.trap, in.hosting, in.dirty = nil, false, true
	in.meter.Set(fullMeter(budget))
	in.refused.Set(0)
}

// guest passes the input and runs the export. The error is the engine's.
func (in *instance) guest(c *call) (abi.Code, error) {
	n := len(c.body)
	if c.ctx != nil {
		n += abi.ContextBytes
	}
	if n > 0 {
		dst, err := in.input(n)
		if dst == nil {
			return abi.CodeTrap, err
		}
		if c.ctx != nil {
			dst = abi.AppendContext(dst[:0], *c.ctx)[abi.ContextBytes:n]
		}
		copy(dst, c.body)
	}
	code, err := in.invoke(in.exports[c.export], uint64(n))
	if err == nil && code >= uint64(abi.HostCodeMin) {
		return abi.CodeTrap, nil // a code that no module may return
	}
	return abi.Code(code), err
}

// input is where an input of n bytes goes: the area that the guest named when it was
// loaded, or if that is too small, what it gives now; nil if that is nothing.
func (in *instance) input(n int) ([]byte, error) {
	if n <= abi.InputAreaBytes {
		return in.room(uint64(in.image.area), n), nil
	}
	ptr, err := in.invoke(in.exports[callInput], uint64(n))
	if err != nil {
		return nil, err
	}
	return in.room(ptr, n), nil
}

// room is n bytes at ptr, or nil if ptr is 0 or they are not within memory.
func (in *instance) room(ptr uint64, n int) []byte {
	mem := in.memory()
	if ptr == 0 || ptr+uint64(n) > uint64(len(mem)) {
		return nil
	}
	return mem[ptr : ptr+uint64(n) : ptr+uint64(n)]
}

// invoke calls a function with at most one parameter and at most one result,
// both i32.
func (in *instance) invoke(f api.Function, arg uint64) (uint64, error) {
	in.stack[0] = arg
	err := f.CallWithStack(&in.ctx, in.stack[:])
	return uint64(uint32(in.stack[0])), err
}

// stopped turns the engine's error into the code of a trap. What the error says
// is not used: its words differ between engines.
func (in *instance) stopped(err error) abi.Code {
	switch {
	case in.trap != nil:
		return abi.CodeTrap
	case in.hosting:
		// Not the guest but the host failed: a broken invariant, or a bug.
		panic(fmt.Errorf("host call failed: %w", err))
	}
	code := spent(in.meter.Get())
	if code == abi.CodeTrap && in.refused.Get() != 0 {
		code = abi.CodeMemory
	}
	return code
}
