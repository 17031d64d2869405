package doctor

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
)

const (
	// lowBytes of free space are worth a word: some hours of full blocks.
	lowBytes = 10 * node.MinFreeBytes
	// lowMemory is below which a node with a large state is in danger, bytes.
	lowMemory = 1 << 30
	// lowFiles is what a node with many connections and segments opens.
	lowFiles = 4096

	// The disk is timed with syncRounds writes of syncBytes, as the journal makes
	// them.
	syncRounds = 20
	syncBytes  = 4 << 10
	slowSync   = 10 * time.Millisecond
	// maxSync bounds the whole.
	maxSync = 5 * time.Second
)

// existing is the directory, or the nearest one above it that is there.
func existing(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return dir
		}
		dir = parent
	}
}

func checkSpace(_ context.Context, p *Patient) Finding {
	free, err := node.FreeBytes(existing(p.Config.DataDir))
	if err != nil {
		return skipped("%v", err)
	}
	return judgeSpace(free)
}

func judgeSpace(free uint64) Finding {
	switch {
	case free < node.MinFreeBytes:
		return fail("%d MiB free, a node is not ready below %d", free>>20, node.MinFreeBytes>>20).do("make room or move the directory to a larger disk: when it is full, the node stops; prune.mode = \"aggressive\" keeps it from growing")
	case free < lowBytes:
		return warn("%d MiB free", free>>20).do("plan for more: 'kaizen inspect disk' and the dashboard show how fast it grows")
	}
	return ok("%d GiB free", free>>30)
}

func checkSpeed(ctx context.Context, p *Patient) Finding {
	times, err := timeSync(ctx, existing(p.Config.DataDir))
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fail("%v", err).do("run this as the user of the node; its directory must be writable for it")
	case errors.Is(err, syscall.ENOSPC):
		return fail("%v", err).do("make room: the node cannot write either")
	case err != nil:
		return fail("%v", err).do("the disk does not do what it is asked: look at 'dmesg'")
	}
	return judgeSpeed(times, time.Duration(p.Config.Block.IntervalMs)*time.Millisecond)
}

// timeSync times writes that are made durable, in a file that is removed again.
func timeSync(ctx context.Context, dir string) (times []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, syncBytes)
	for begin := time.Now(); len(times) < syncRounds && time.Since(begin) < maxSync && ctx.Err() == nil; {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	return times, ctx.Err()
}

func judgeSpeed(times []time.Duration, interval time.Duration) Finding {
	slices.Sort(times)
	median, worst := times[len(times)/2], times[len(times)-1]
	const format = "write and fsync of 4 KiB: median %s, worst %s"
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	switch {
	case median > interval/2:
		return fail(format, round(median), round(worst)).do("the disk is too slow for blocks every %s: use a local SSD, no network file system", interval)
	case median > slowSync || worst > interval:
		return warn(format, round(median), round(worst)).do("every transaction waits for a sync: a disk with power-loss protection answers in under 1 ms")
	}
	return ok(format, round(median), round(worst))
}

func checkMemory(context.Context, *Patient) Finding {
	available, err := memoryAvailable("/proc/meminfo")
	if err != nil {
		return skipped("%v", err)
	}
	limit := uint64(0)
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		limit, _ = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // "max" is none
	}
	return judgeMemory(available, limit)
}

func judgeMemory(available, limit uint64) Finding {
	switch {
	case limit > 0 && limit < lowMemory:
		return warn("the control group allows %d MiB", limit>>20).do("give it 1 GiB or more: a million accounts take about 700 MiB")
	case available < lowMemory:
		return warn("%d MiB are available", available>>20).do("a million accounts take about 700 MiB: end what else runs here, or take a larger machine")
	}
	return ok("%d MiB are available", available>>20)
}

// memoryAvailable reads MemAvailable of a file like /proc/meminfo, bytes.
func memoryAvailable(name string) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) == 3 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(fields[1], 10, 54)
			return kib << 10, err
		}
	}
	return 0, errors.New(name + " has no MemAvailable")
}

func checkFiles(context.Context, *Patient) Finding {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return skipped("%v", err)
	}
	return judgeFiles(uint64(limit.Cur))
}

func judgeFiles(limit uint64) Finding {
	if limit < lowFiles {
		return warn("%d may be open at once", limit).do("LimitNOFILE=65536 in the unit, or 'ulimit -n 65536': connections and files of the log count")
	}
	return ok("%d may be open at once", limit)
}
