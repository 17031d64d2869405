package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/logs"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/wasm"
	"github.com/kaizenchain/kaizen/stf-modules/modules"
)

// Deps are what a node is given besides its configuration.
type Deps struct {
	Program stf.Program
	Log     *slog.Logger
	// LastBlock, if not nil, is called once by a write node that was told to stop:
	// after everything answered is sealed and stored, and while its sync port still
	// serves. The node stops when it returns.
	LastBlock func(head chain.Header)
	// Progress, if not nil, shows what takes a read node long, instead
	// of a line in the log every 10 s; unit is the plural of what is counted. The
	// function beside it takes it away.
	Progress func(what, unit string) (Progress, func())
}

func (d *Deps) progress(what, unit string) (Progress, func()) {
	if d.Progress != nil {
		return d.Progress(what, unit)
	}
	return logProgress(d.Log, what, unit), func() {}
}

// Errors by which a caller tells why a node does not run or a check failed.
var (
	// ErrVerification: stored or received data is not what it claims to be.
	ErrVerification = errors.New("verification failed")
	// ErrUnreachable: the node to follow does not answer.
	ErrUnreachable = errors.New("node is unreachable")
	// ErrConfig: configuration and chain disagree.
	ErrConfig = errors.New("configuration does not fit this chain")
	// ErrKeyFile: the sequencer's key cannot be used.
	ErrKeyFile = errors.New("sequencer key file")
)

// maxModuleBytes bounds a module file, bytes.
const maxModuleBytes = 64 << 20

// LoadProgram loads the module that cfg names, the embedded rfq market if it
// names none.
func LoadProgram(ctx context.Context, cfg *Config, log *slog.Logger) (stf.Program, error) {
	return LoadTraced(ctx, cfg, log, nil)
}

// LoadTraced is LoadProgram of a module that is watched while it executes, for
// [TraceTx]. It executes to the same results, only slower.
func LoadTraced(ctx context.Context, cfg *Config, log *slog.Logger, tracer wasm.Tracer) (stf.Program, error) {
	code, err := ModuleBytes(cfg.STF.File)
	if err != nil {
		return nil, err
	}
	engine := wasm.Compiler
	if cfg.STF.Engine == "interpreter" {
		engine = wasm.Interpreter
	}
	cache := cfg.STF.CacheDir
	if cache == "" && cfg.DataDir != "" {
		cache = filepath.Join(cfg.DataDir, "cache")
	}
	log = logs.For(log, "wasm")
	p, err := wasm.Load(ctx, code, wasm.Options{Engine: engine, CacheDir: cache, Crypto: secp.Crypto{},
		Log: func(line []byte) { log.Debug("module", "says", string(line)) }, Tracer: tracer})
	if err != nil {
		return nil, fmt.Errorf("load module %s: %w", moduleName(cfg.STF.File), err)
	}
	return p, nil
}

func moduleName(file string) string {
	if file == "" {
		return "rfq (embedded)"
	}
	return file
}

// ModuleBytes reads a module file, at most maxModuleBytes; an empty name is the
// market that is built in.
func ModuleBytes(file string) ([]byte, error) {
	if file == "" {
		code, ok := modules.Lookup("rfq")
		invariant.Hold(ok, "the rfq module is not embedded")
		return code, nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if info.Size() > maxModuleBytes {
		return nil, fmt.Errorf("read module: %s has %d bytes, limit %d", file, info.Size(), maxModuleBytes)
	}
	code, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	return code, nil
}

// Init creates a data directory for the chain of g.
func Init(dir string, g *chain.Genesis) error {
	if err := g.Validate(); err != nil {
		return err
	}
	return store.Init(dir, g, store.Options{})
}

// KeyFileName is the sequencer's key inside a write node's data directory: 64
// hex digits, the ed25519 seed, readable by its owner only.
const KeyFileName = "sequencer.key"

// CreateSequencerKey makes a key file; it never replaces one.
func CreateSequencerKey(dir string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate sequencer key: %w", err)
	}
	return key, WriteSequencerKey(dir, key)
}

// WriteSequencerKey stores a given key; it never replaces one.
func WriteSequencerKey(dir string, key ed25519.PrivateKey) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, KeyFileName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	_, err = f.WriteString(hex.EncodeToString(key.Seed()) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil { // half a key is none, and would be in the way of the next attempt
		return fmt.Errorf("%w: %w", ErrKeyFile, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// LoadSequencerKey reads the key file; others must not be able to read it.
func LoadSequencerKey(dir string) (ed25519.PrivateKey, error) {
	file := filepath.Join(dir, KeyFileName)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing: only the node that was initialised with `kaizen init` can seal blocks; a read node runs `kaizen follow`", ErrKeyFile, file)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o, others can read it: chmod 600 %s", ErrKeyFile, file, perm, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	seed, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("%w: %s does not hold 64 hex digits", ErrKeyFile, file)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// CheckConfig compares what the operator configured with what genesis fixes:
// such a value can only be changed by a new chain.
func CheckConfig(cfg *Config, g *chain.Genesis) error {
	for _, c := range []struct {
		key         string
		have, fixed any
	}{
		{"block.interval_ms", cfg.Block.IntervalMs, g.IntervalMs},
		{"block.max_txs_per_block", cfg.Block.MaxTxsPerBlock, g.MaxTxsPerBlock},
		{"oracle.max_stale_ms", cfg.Oracle.MaxStaleMs, g.MaxStaleMs},
		{"settler.enabled", cfg.Settler.Enabled, g.SettlerEnabled},
		{"settler.address", cfg.Settler.Address, g.Settler},
	} {
		if c.have != c.fixed {
			return fmt.Errorf("%w: %s is %v, genesis fixed it at %v: it changes results, so set it back or start a new chain", ErrConfig, c.key, c.have, c.fixed)
		}
	}
	return nil
}

// checkModule compares the loaded module with the chain's.
func checkModule(p stf.Program, g *chain.Genesis) error {
	if p.Hash() != g.ModuleHash {
		return fmt.Errorf("%w: %w: this chain runs %s, loaded is %s (%s): name the right file with --stf", ErrVerification, stf.ErrModule, g.ModuleHash, p.Hash(), p.Schema().Name)
	}
	return nil
}
