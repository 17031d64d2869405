package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/snapshot"
)

// SnapshotInfo describes a snapshot, as `kaizen snapshot` prints it and the admin
// route answers.
type SnapshotInfo struct {
	Name        string        `json:"name"`
	Path        string        `json:"path"`
	Kind        string        `json:"kind"`
	Height      uint64        `json:"height"`
	Identity    chain.Hash    `json:"identity"`
	BlockHash   chain.Hash    `json:"block_hash"`
	BlockTime   uint64        `json:"block_time"` // ms
	StateRoot   chain.Hash    `json:"state_root"`
	ChainID     uint64        `json:"chain_id"`
	GenesisHash chain.Hash    `json:"genesis_hash"`
	ModuleHash  chain.Hash    `json:"module_hash"`
	Base        *SnapshotBase `json:"base"`             // null: it is a full one
	Keys        uint64        `json:"keys"`             // entries, the deleted ones of an incremental snapshot included
	Bytes       uint64        `json:"bytes"`            // of the canonical stream
	Compressed  uint64        `json:"compressed_bytes"` // of all chunk files
	Chunks      int           `json:"chunks"`
	Signed      bool          `json:"signed"`
	Signer      api.Bytes     `json:"signer"` // key of the header's sequencer, who signs if anybody does
}

// SnapshotBase is what an incremental snapshot continues.
type SnapshotBase struct {
	Height   uint64     `json:"height"`
	Identity chain.Hash `json:"identity"`
}

// InfoOf describes s.
func InfoOf(s *snapshot.Snapshot) SnapshotInfo {
	m, h := s.Manifest, &s.Manifest.Header
	v := SnapshotInfo{Name: m.Name(), Path: s.Path, Kind: m.Kind.String(), Height: h.Height, Identity: m.Identity(), BlockHash: h.Hash(), BlockTime: h.Time,
		StateRoot: h.StateRoot, ChainID: h.ChainID, GenesisHash: m.GenesisHash, ModuleHash: h.ModuleHash, Keys: m.Entries, Bytes: m.Bytes,
		Compressed: m.CompressedBytes(), Chunks: len(m.Chunks), Signed: m.Signed(), Signer: h.Sequencer[:]}
	if m.Kind == snapshot.Incremental {
		v.Base = &SnapshotBase{m.Base.Height, m.Base.Identity}
	}
	return v
}

// FindSnapshot opens the snapshot that what names: "latest", a height, a name or the
// beginning of an identity (0x…) of those of a data directory, or else a path.
// It wraps [ErrSnapshot] if there is none.
func FindSnapshot(dataDir, what string) (*snapshot.Snapshot, error) {
	dir := SnapshotDir(dataDir)
	list, err := dir.List()
	if err != nil {
		return nil, err
	}
	for _, i := range list { // the newest first
		named := i.Name == what || fmt.Sprint(i.Height) == what
		if i.Err != nil {
			if named {
				return nil, damaged(i.Err)
			}
			continue
		}
		if named || what == "latest" || strings.HasPrefix(what, "0x") && strings.HasPrefix(i.Snapshot.Manifest.Identity().String(), what) {
			return i.Snapshot, nil
		}
	}
	if what == "latest" || strings.Trim(what, "0123456789") == "" || strings.HasPrefix(what, "0x") {
		return nil, fmt.Errorf("%w: %s: %w: %s", ErrSnapshot, what, snapshot.ErrNotFound, dir.Path)
	}
	s, err := snapshot.Open(nil, what)
	if errors.Is(err, snapshot.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return s, damaged(err)
}

// VerifySnapshot checks every byte of a snapshot and of what it continues, every
// state root and signature, and, where it lies in a data directory, that it is of
// that directory's chain and of the block that is stored there. Damage wraps
// [ErrVerification].
func VerifySnapshot(s *snapshot.Snapshot, progress func(done, total uint64)) error {
	if err := checkOrigin(s); err != nil {
		return damaged(err)
	}
	links, err := s.Chain()
	for _, link := range links {
		err = errors.Join(err, link.CheckSignatures())
	}
	if err == nil {
		err = snapshot.VerifyChain(links, snapshot.Options{Run: onAllCores, Progress: progress})
	}
	return damaged(err)
}

// checkOrigin compares a snapshot with the data directory that it lies in, if it
// lies in one.
func checkOrigin(s *snapshot.Snapshot) error {
	st, err := store.Open(filepath.Join(s.Path, "..", ".."), store.Options{ReadOnly: true})
	if errors.Is(err, store.ErrNotInitialized) {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.CheckChain(st.Genesis())
	if err == nil {
		err = checkStored(st, s)
	}
	return errors.Join(err, st.Close())
}

// checkStored compares the snapshot's block with the stored one, if it is kept.
func checkStored(st *store.Store, s *snapshot.Snapshot) error {
	height, id := s.Manifest.Header.Height, st.Before()
	if height != id.Number {
		h, err := st.Header(height)
		if errors.Is(err, store.ErrPruned) || height == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		id = h.ID()
	}
	if id.Hash == (chain.Hash{}) {
		return nil
	}
	return s.CheckBlock(id)
}

// SnapshotProgress is how far a snapshot is that is being taken.
type SnapshotProgress struct {
	Done  uint64 `json:"done"`  // keys
	Total uint64 `json:"total"` // 0: none is being taken
}

// route takes one because an operator asks for it.
func (s *snapshots) route(ctx context.Context, _ []byte) (any, error) {
	taken, err := s.takeNear(ctx, s.views.Head().Height, true)
	if err != nil {
		return nil, err
	}
	return InfoOf(taken), nil
}

func (s *snapshots) progressRoute(context.Context, []byte) (any, error) {
	return SnapshotProgress{Done: s.copied.Load(), Total: s.toCopy.Load()}, nil
}
