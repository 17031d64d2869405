package doctor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
)

// moment is a time in ms for people.
func moment(ms uint64) string {
	return time.UnixMilli(int64(min(ms, 1<<60))).UTC().Format(time.RFC3339)
}

func checkModule(_ context.Context, p *Patient) Finding {
	code, err := node.ModuleBytes(p.Config.STF.File)
	if err != nil {
		return fail("%v", err).do("name the module's file with stf.file (--stf); empty is the market that is built in")
	}
	hash := chain.Hash(sha256.Sum256(code))
	switch g := p.genesis(); {
	case g == nil:
		return ok("%s", hash)
	case g.ModuleHash != hash:
		return fail("the chain runs module %s, configured is %s", g.ModuleHash, hash).do("name the chain's module with stf.file (--stf), or run the version of kaizen that has it built in")
	}
	return ok("%s, as genesis says", hash)
}

func checkKey(_ context.Context, p *Patient) Finding {
	if p.Role != api.RoleWrite {
		return skipped("a read node has no key")
	}
	key, err := node.LoadSequencerKey(p.Config.DataDir)
	file := filepath.Join(p.Config.DataDir, node.KeyFileName)
	g := p.genesis()
	switch {
	case g == nil && missing(file):
		return skipped("no chain, and no key yet")
	case errors.Is(err, os.ErrPermission):
		return fail("%v", err).do("run this as the user that owns %s", file)
	case err != nil:
		return fail("%v", err).do("put the chain's key back from the backup, mode 0600, owned by the node's user")
	case g != nil && !bytes.Equal(key.Public().(ed25519.PublicKey), g.Sequencer[:]):
		return fail("%s is not this chain's: genesis names %x", file, g.Sequencer).do("put the chain's key back from the backup")
	}
	return ok("%s, mode 0600", file)
}

func missing(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist)
}

func checkBlocks(_ context.Context, p *Patient) Finding {
	if p.store == nil {
		return skipped("no chain to look into")
	}
	head, any := p.store.Head()
	if !any {
		return ok("none yet")
	}
	b, err := p.store.Block(head.Height)
	if err == nil {
		err = errors.Join(b.Header.VerifySignature(), b.Check(p.genesis().MaxTxsPerBlock))
	}
	if err != nil {
		return fail("the newest block, %d: %v", head.Height, err).do("'kaizen verify all' shows how much is damaged; restore from a backup or another node")
	}
	return ok("%d to %d, sealed %s; signature and contents of the newest are right ('kaizen verify all' reads everything)", p.store.Base(), head.Height, moment(head.Time))
}

func checkEvidence(_ context.Context, p *Patient) Finding {
	if p.store == nil {
		return skipped("no chain to look into")
	}
	names, err := p.store.Evidence()
	switch {
	case err != nil:
		return warn("%v", err).do("make the directory evidence readable for this user")
	case len(names) > 0:
		return warn("%d blocks were refused: %s", len(names), strings.Join(names, ", ")).
			do("somebody sent blocks that do not verify, or this node is wrong: compare with 'kaizen status' of several nodes and 'kaizen verify block' on another; keep the files")
	}
	return ok("no block was ever refused")
}

// lateSnapshots is how many intervals behind the newest block the newest snapshot
// may be.
const lateSnapshots = 3

func checkSnapshots(_ context.Context, p *Patient) Finding {
	if p.store == nil {
		return skipped("no chain to look into")
	}
	list, err := node.SnapshotDir(p.Config.DataDir).List()
	if err != nil {
		return warn("%v", err).do("make the directory snapshots readable for this user")
	}
	newest, good := uint64(0), 0
	for _, i := range list {
		if i.Err != nil {
			return warn("%s is damaged: %v", i.Name, i.Err).do("remove %s: the node makes others", i.Path)
		}
		good++
		newest = max(newest, i.Height)
	}
	every, height := p.Config.Snapshot.IntervalBlocks, p.store.Height()
	switch {
	case every == 0 && good == 0:
		return warn("none, and none are taken: a start executes all %d blocks", height).do("set snapshot.interval_blocks, such as 10000")
	case every > 0 && height > newest+lateSnapshots*every:
		return warn("the newest is of block %d, the chain is at %d, one is due every %d", newest, height, every).do("the log of component snapshot says why none was taken")
	case good == 0:
		return ok("none yet, the first is due at block %d", every)
	}
	return ok("%d, the newest of block %d", good, newest)
}
