package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/store"
)

func newInspectDisk(std cli.IO) *cobra.Command {
	l := newLook("disk", "Show what takes the space of a data directory, and how fast it grows",
		"{dir, base, height, parts: [{name, files, bytes}], bytes, free, growth: {from, to, blocks_per_day, blocks_bytes_per_day, index_bytes_per_day, prune_mode, bytes_per_day, level_bytes, days_until_full}}")
	l.cmd.RunE = func(*cobra.Command, []string) error {
		return l.with(func(s *store.Store, cfg *cli.Config) error {
			v, err := node.Usage(s, &cfg.Config)
			if err != nil {
				return err
			}
			return l.out.Print(std.Out, &v, func(t *cli.Table) { printUsage(t, &v) })
		})
	}
	return l.cmd
}

func printUsage(t *cli.Table, v *node.DiskUsage) {
	t.Row("PART", "FILES", "BYTES", "SHARE")
	for _, p := range v.Parts {
		t.Row(p.Name, p.Files, size(p.Bytes), fmt.Sprintf("%d%%", 100*p.Bytes/max(v.Bytes, 1)))
	}
	t.Row("together", "", size(v.Bytes), "")
	t.Row("free", "", size(v.Free), "")
	t.Line("")
	if v.Height >= v.Base {
		t.Row("blocks", fmt.Sprintf("%d to %d", v.Base, v.Height))
	}
	g := v.Growth
	if g == nil {
		t.Row("growth", "too few blocks to say")
		return
	}
	t.Row("measured", fmt.Sprintf("blocks %d to %d", g.From+1, g.To))
	t.Row("in a day", fmt.Sprintf("%d blocks, %s of blocks, %s of index", g.BlocksPerDay, size(g.BlocksBytes), size(g.IndexBytes)))
	if g.Level != nil {
		t.Row("prune.mode", fmt.Sprintf("%s: blocks and index stay below about %s", g.Mode, size(*g.Level)))
		return
	}
	t.Row("prune.mode", g.Mode+": every block is kept")
	if g.DaysLeft != nil {
		t.Row("full in", fmt.Sprintf("%d days", *g.DaysLeft))
	}
}

// size writes a number of bytes for people.
func size(n uint64) string {
	for _, unit := range []struct {
		bytes uint64
		name  string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.bytes {
			tenths := n / (unit.bytes / 10)
			return fmt.Sprintf("%d.%d %s", tenths/10, tenths%10, unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// journalRecord is a line of `inspect journal`.
type journalRecord struct {
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`
	Group   uint64 `json:"group"`
	Type    string `json:"type"` // open or tx
	Height  uint64 `json:"height"`
	Stored  bool   `json:"stored"` // the block is in the block log: the record is not needed any more

	Time   uint64         `json:"time,omitempty"` // of an open
	Oracle *journalOracle `json:"oracle,omitempty"`
	Raw    api.Bytes      `json:"raw,omitempty"` // of a tx
}

// journalOracle is the prices that a block was opened with.
type journalOracle struct {
	Timestamp uint64         `json:"timestamp"`
	Stale     bool           `json:"stale"`
	Prices    []journalPrice `json:"prices"`
}

type journalPrice struct {
	Base      chain.Address `json:"base"`
	Quote     chain.Address `json:"quote"`
	Price     uint64        `json:"price,string"`
	Timestamp uint64        `json:"timestamp"`
}

func oracleOf(o *chain.OracleSnapshot) *journalOracle {
	v := &journalOracle{Timestamp: o.Timestamp, Stale: o.Stale, Prices: []journalPrice{}}
	for _, p := range o.Prices {
		v.Prices = append(v.Prices, journalPrice(p))
	}
	return v
}

func newInspectJournal(std cli.IO) *cobra.Command {
	l := newLook("journal", "Show what a write node has answered and not yet put into a stored block: blocks as they were opened, and their transactions",
		"[{segment, offset, group, type: \"open\" or \"tx\", height, stored, time, oracle: {timestamp, stale, prices: [{base, quote, price, timestamp}]}, raw}]")
	all := l.cmd.Flags().Bool("all", false, "also show what is left of blocks that are stored")
	l.cmd.RunE = func(*cobra.Command, []string) error {
		return l.into(func(s *store.Store) error {
			entries, err := s.JournalEntries()
			if err != nil {
				return err
			}
			records, err := describeJournal(entries, s.Height(), *all)
			return errors.Join(l.out.Print(std.Out, records, func(t *cli.Table) { printJournal(t, records, len(entries)) }), err)
		})
	}
	return l.cmd
}

func describeJournal(entries []store.JournalEntry, stored uint64, all bool) ([]journalRecord, error) {
	records := []journalRecord{}
	for _, e := range entries {
		r := journalRecord{Segment: e.Segment, Offset: e.Offset, Group: e.Group, Type: "tx", Height: e.Height, Stored: e.Height <= stored, Raw: e.Tx}
		if r.Stored && !all {
			continue
		}
		if e.Open != nil {
			r.Type, r.Time = "open", e.Open.Time
			oracle, err := chain.DecodeOracle(e.Open.Oracle)
			if err != nil {
				return records, fmt.Errorf("%w: journal segment %d, group %d: prices of block %d: %w", node.ErrVerification, e.Segment, e.Group, e.Height, err)
			}
			r.Oracle = oracleOf(&oracle)
		}
		records = append(records, r)
	}
	return records, nil
}

func printJournal(t *cli.Table, records []journalRecord, total int) {
	if len(records) == 0 {
		t.Row(fmt.Sprintf("nothing that is not stored; %d records of stored blocks (--all)", total))
		return
	}
	t.Row("SEGMENT", "GROUP", "BLOCK", "STORED", "RECORD", "")
	for i := range records {
		r := &records[i]
		what := fmt.Sprintf("%d bytes", len(r.Raw))
		if r.Oracle != nil {
			what = fmt.Sprintf("%s, %d prices", moment(r.Time), len(r.Oracle.Prices))
			if r.Oracle.Stale {
				what += ", stale"
			}
		}
		stored := "no"
		if r.Stored {
			stored = "yes"
		}
		t.Row(r.Segment, r.Group, r.Height, stored, r.Type, what)
	}
}
