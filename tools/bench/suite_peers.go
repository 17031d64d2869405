package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/stf-modules/counter"
)

// peersModule holds what other projects' software needs, apart from ours.
const peersModule = "tools/peers"

// peerSuites are groups of peers, each beside the same work of ours.
var peerSuites = []struct {
	peers []string
	run   func(*bench, []string) error
}{
	{[]string{"smt", "iavl", "gethtrie", "gethstate"}, (*bench).peerTrees},
	{[]string{"gethchain"}, (*bench).peerImport},
	{[]string{"cometbft", "evnode"}, (*bench).peerNodes},
}

// peers measures other projects' software beside ours. Their modules are fetched
// and built now; where that cannot be, the suite says why and has no figures.
func (b *bench) peers() error {
	b.say("build %s", peersModule)
	if err := b.buildPeers(); err != nil {
		b.say("peers: skipped: %v", err)
		return nil
	}
	for _, s := range peerSuites {
		var wanted []string
		for _, p := range s.peers {
			switch {
			case !b.peerNames.MatchString(p):
			case p == "evnode" && b.evNode == "":
				b.say("peers: evnode skipped: -evnode does not say where it runs")
			default:
				wanted = append(wanted, p)
			}
		}
		if len(wanted) == 0 {
			continue
		}
		if err := s.run(b, wanted); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) peersProgram() string { return filepath.Join(b.temp, "peers") }

func (b *bench) buildPeers() error {
	root, err := exec.CommandContext(b.ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kaizenchain/kaizen").Output()
	if err != nil {
		return fmt.Errorf("find the repository: %w", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), filepath.FromSlash(peersModule))
	out, err := exec.CommandContext(b.ctx, "go", "build", "-C", dir, "-o", b.peersProgram(), ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w: %.500s", dir, err, out)
	}
	return nil
}

// peerProcess is a peer in a process of its own (tools/peers says what it speaks).
type peerProcess struct {
	title     string
	cmd       *exec.Cmd
	in        io.WriteCloser
	out       *json.Decoder
	cpu       []float64 // of each round, µs for each of what it does
	keys      int       // numbered keys that a key-value application has
	elsewhere bool      // the peer is in yet another process, whose time is not seen
	slows     bool      // each round makes the next slower: few rounds, and longer ones
}

// peerAnswer is what a round of a peer came to.
type peerAnswer struct {
	Rate  float64 `json:"rate"` // a second
	CPU   float64 `json:"cpu"`  // processor time for each, µs
	Keys  int     `json:"keys"` // numbered keys that it has now
	Error string  `json:"error"`
}

// startPeer starts one with the garbage collector as this process has it.
func (b *bench) startPeer(name string, flags ...string) (*peerProcess, error) {
	p := &peerProcess{cmd: exec.CommandContext(b.ctx, b.peersProgram(), append(flags, name)...)}
	p.cmd.Env = append(os.Environ(), "GOGC="+strconv.Itoa(gcPercent()))
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.say("start %s", name)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.out = json.NewDecoder(out)
	var hello struct {
		Peer string `json:"peer"`
		Keys int    `json:"keys"`
	}
	if err := p.out.Decode(&hello); err != nil {
		return nil, errors.Join(fmt.Errorf("start peer %s: %w", name, err), p.close())
	}
	p.title, p.keys = hello.Peer, hello.Keys
	return p, nil
}

// gcPercent is the percentage that this process runs with.
func gcPercent() int {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}

// round is the peer's rate over about d.
func (p *peerProcess) round(d time.Duration) (float64, error) {
	if _, err := fmt.Fprintf(p.in, "round %g\n", d.Seconds()); err != nil {
		return 0, fmt.Errorf("peer %s: %w", p.title, err)
	}
	var a peerAnswer
	if err := p.out.Decode(&a); err != nil {
		return 0, fmt.Errorf("peer %s: %w", p.title, err)
	}
	p.keys = a.Keys
	if a.Error != "" {
		return 0, fmt.Errorf("peer %s: %s", p.title, a.Error)
	}
	p.cpu = append(p.cpu, a.CPU)
	return a.Rate, nil
}

func (p *peerProcess) close() error { return errors.Join(p.in.Close(), p.cmd.Wait()) }

// besidePeer measures ours between two rounds of a peer, again and again, by the clock
// and by processor time.
func (b *bench) besidePeer(p *peerProcess, figure string, goal *Bound, note string, ours func() (work, error)) error {
	if _, err := p.round(b.slice() / 4); err != nil { // what a peer does once is not counted
		return err
	}
	p.cpu = nil
	var cpu, generator, theirs []float64
	rounds, err := b.repeatTimes(b.roundsBeside(p.slows), func() (float64, error) { return p.round(p.slice(b.slice())) }, func() (float64, error) {
		w, err := ours()
		cpu, generator = append(cpu, microseconds(w.cpu())/float64(w.n)), append(generator, microseconds(w.generator)/float64(w.n))
		return perSecond(w.n, w.took), err
	})
	if err != nil {
		return err
	}
	for i := range cpu { // a round of ours is between two of the peer's
		theirs = append(theirs, (p.cpu[2*i]+p.cpu[2*i+1])/2)
	}
	figure += ", beside " + p.title
	b.add(rated("peers", figure, "1/s", p.title, "1/s", rounds).want(nil, goal).noted(note))
	if p.elsewhere {
		b.add(costs(figure+": processor time of the load generator for one", p.title, generator, theirs))
	} else {
		b.add(costs(figure+": processor time for one", p.title, cpu, theirs))
	}
	return nil
}

// slice is how long a round of the peer is, of which there are two for one of ours:
// half as long, unless a block of the peer may take longer than that.
func (p *peerProcess) slice(ours time.Duration) time.Duration {
	if p.slows {
		return ours
	}
	return ours / 2
}

// rarely is how many rounds a row has at most whose peer becomes slower by each.
const rarely = 3

// roundsBeside is how many rounds a row has.
func (b *bench) roundsBeside(slows bool) int {
	if slows {
		return min(b.rounds, rarely)
	}
	return b.rounds
}

// costs is a figure of processor time, µs, beside the peer's.
func costs(name, peer string, ours, theirs []float64) Figure {
	rounds := make([]round, len(ours))
	for i := range ours {
		rounds[i] = round{ours[i], theirs[i]}
	}
	return rated("peers", name, "µs", peer, "µs", rounds)
}

// peerTrees is key updates of state roots.
func (b *bench) peerTrees(names []string) error {
	b.say("make a tree of %d accounts", b.accounts)
	s := newBigState(b.accounts)
	for _, name := range names {
		if err := b.peerTree(s, name); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) peerTree(s *bigState, name string) (err error) {
	batch := min(batchKeys, len(s.keys))
	p, err := b.startPeer(name, "-keys", strconv.Itoa(len(s.keys)), "-batch", strconv.Itoa(batch),
		"-key-bytes", strconv.Itoa(len(s.keys[0])), "-value-min", strconv.Itoa(minValue), "-value-max", strconv.Itoa(maxValue))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	figure := fmt.Sprintf("key updates in batches of %s with a root", grouped(strconv.Itoa(batchKeys)))
	return b.besidePeer(p, figure, atLeast(10), treeNote(name), func() (work, error) { return b.wholeUpdates(s, batch), nil })
}

// treeNote says what the peer's tree does with its nodes.
func treeNote(peer string) string {
	if peer == "gethstate" {
		return "all in memory; the peer puts the nodes of each batch into its database, ours keeps them as they are"
	}
	return "all in memory, nothing stored"
}

// wholeUpdates goes from pairs of key and value to a root, as peers do: unlike
// updateRate it counts the overlay that puts them in order.
func (b *bench) wholeUpdates(s *bigState, batch int) (w work) {
	for begin := time.Now(); w.n == 0 || time.Since(begin) < b.slice(); w.n += batch {
		keys, values := make([][]byte, batch), make([][]byte, batch)
		for i := range keys {
			keys[i], values[i] = s.keys[s.rand.IntN(len(s.keys))], s.value()
		}
		used, _ := usage()
		start := time.Now()
		o := state.NewOverlay(s.tree)
		for i, k := range keys {
			o.Set(k, values[i])
		}
		s.tree.Commit(o.Changes(), runner)
		w.took += time.Since(start)
		now, _ := usage()
		w.generator += now - used
	}
	return w
}

// peerImport is stored blocks executed again, over as many accounts.
func (b *bench) peerImport([]string) (err error) {
	const guess = 10_000 // transfers a second that a peer imports, for the length of a round
	r, err := b.theReplay()
	if err != nil {
		return err
	}
	perBlock := int(r.chain.genesis.MaxTxsPerBlock)
	senders := len(r.chain.wallets.keys)
	p, err := b.startPeer("gethchain", "-accounts", strconv.Itoa(senders+int(r.to)*perBlock), "-senders", strconv.Itoa(senders),
		"-block-txs", strconv.Itoa(perBlock), "-blocks", strconv.Itoa(max(1, int(guess*b.seconds)/perBlock)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return b.besidePeer(p, "stored transfers executed again", atLeast(1), "both check every signature and root; ours reads from disk and makes the receivers", func() (work, error) {
		report, used, err := r.run(node.ReplayOptions{})
		return work{n: int(report.Txs), took: report.Elapsed, generator: used}, err
	})
}

// nodeRow is what a node of ours and a peer are compared by.
type nodeRow struct {
	figure  string
	ours    *way
	txBytes int // of the peer's transactions, as long as ours
	goal    *Bound
	callers int    // of the peer
	set     string // the keys of the peer's transactions (tools/peers has the same words)
}

// Which keys a peer's transactions set.
const (
	setOne    = "one"    // all the same
	setNew    = "new"    // each a key of its own
	setLoaded = "loaded" // random ones of as many as there are accounts, set before the rounds
)

// slows says whether the peer has more and more to do for a block.
func (row *nodeRow) slows() bool { return row.set != setOne }

// inTurn says whether a call of ours waits for the one before.
func (row *nodeRow) inTurn() bool { return row.ours.callers == 1 }

// peerNodes is transactions over HTTP.
func (b *bench) peerNodes(names []string) error {
	n, err := b.theChild()
	if err != nil {
		return err
	}
	c, err := b.theCounters()
	if err != nil {
		return err
	}
	rate, err := b.limit()
	if err != nil {
		return err
	}
	const signed, unsigned = "signed transfers over HTTP", "unsigned counters over HTTP"
	transfers, most := b.chain.wallets.load, 2*b.roundSize(rate)
	length := len(b.signatures()[0].raw)
	for _, row := range []*nodeRow{
		{signed, b.calls(n, transfers, b.roundSize(rate), most), length, atLeast(1), workers, setOne},
		{signed, b.ones(n, transfers, firstRound, most), length, atLeast(1), singleConns, setOne},
		{unsigned, b.counterCalls(c), counter.TxBytes, atLeast(5), workers, setOne},
		{unsigned, b.counterInTurn(c), counter.TxBytes, atLeast(5), workers, setOne},
		{unsigned, b.counterOnes(c), counter.TxBytes, atLeast(5), singleConns, setOne},
		// These slow the peer for good: each key that a block sets is one more pair of its root.
		{unsigned, b.counterCalls(c), counter.TxBytes, atLeast(5), workers, setNew},
		{unsigned, b.counterCalls(c), counter.TxBytes, atLeast(5), workers, setLoaded},
		{signed, b.calls(n, transfers, b.roundSize(rate), most), length, atLeast(1), workers, setLoaded},
	} {
		err := b.peerRow(names, row)
		row.ours.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// peerRow measures beside each peer that has such requests.
func (b *bench) peerRow(names []string, row *nodeRow) error {
	for _, name := range names {
		if name == "cometbft" && (row.ours.atOnce == 1 || row.slows() || row.inTurn()) {
			continue // it takes calls of many, and all its rows have keys of their own
		}
		err := b.peerNode(name, row)
		if err != nil && row.slows() && b.ctx.Err() == nil {
			b.say("peers: %s, %s, with %s keys has no figure: %v", name, row.figure, row.set, err) // it takes only so many
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) peerNode(name string, row *nodeRow) (err error) {
	flags := []string{"-tx-bytes", strconv.Itoa(row.txBytes), "-callers", strconv.Itoa(row.callers), "-at-once", strconv.Itoa(row.ours.atOnce)}
	if name == "evnode" {
		flags = append(flags, b.evNodeFlags(row)...)
	} else {
		dir, err := os.MkdirTemp(b.temp, name)
		if err != nil {
			return err
		}
		flags = append(flags, "-dir", dir, "-interval", nodeConfig("", "").Block.Interval().String())
	}
	p, err := b.startPeer(name, flags...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if p.elsewhere = name == "evnode"; p.elsewhere {
		p.title = "ev-node's test application" + map[string]string{setNew: " with a new key each", setLoaded: " with as many keys"}[row.set]
		p.slows = row.slows()
		defer func() { b.evKeys = p.keys }()
	}
	return b.besidePeer(p, row.figure+", "+row.ours.name, row.goal, row.note(name, p.keys), func() (work, error) { return row.ours.round(b) })
}

// evNodeFlags say which keys it sets. It goes through all pairs it ever wrote for
// each block, so that what the rounds of a row add is bounded: by new keys no more
// than there are accounts, by loaded ones as many bytes a round as a quarter of the
// keys have in the shortest transactions. A first round is not cut short.
func (b *bench) evNodeFlags(row *nodeRow) []string {
	most := 0
	switch row.set {
	case setNew:
		most = max(firstRound, b.accounts/(2*b.roundsBeside(row.slows())+1))
	case setLoaded:
		most = max(firstRound, b.accounts/4*counter.TxBytes/row.txBytes)
	}
	return []string{"-url", b.evNode, "-set", row.set, "-load", strconv.Itoa(b.accounts), "-keys-made", strconv.Itoa(b.evKeys), "-round-most", strconv.Itoa(most)}
}

// note says what differs.
func (row *nodeRow) note(peer string, keys int) string {
	note := "the peer's are unsigned key-value pairs of the same length"
	if peer != "evnode" {
		return note
	}
	switch row.set {
	case setNew:
		return note + ", each with a new key; ours go to counters that are there"
	case setLoaded:
		return fmt.Sprintf("%s, which set random ones of %s keys that it has, and it goes through what rounds before have written as well", note, grouped(strconv.Itoa(keys)))
	}
	if row.inTurn() {
		return note + ", which all set one key; ours add to one counter, whose sequence numbers let no call overtake another"
	}
	return note + ", which all set one key"
}
