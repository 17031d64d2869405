package settle

import "fmt"

// Kind is what a settlement claims.
type Kind uint8

// The claims. The first three are SystemSettle's, and have its tags; Decide is
// RfqSettle, which claims nothing.
const (
	UserWins Kind = iota
	SolverWins
	Void
	Decide
	claims
)

var kindNames = [...]string{"user_wins", "solver_wins", "void", "decide"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("claim %d", uint8(k))
}

// Claim is a kind and, for SolverWins, the recorded price that proves it.
type Claim struct {
	Kind            Kind
	BreachTimestamp uint64
	BreachPrice     uint64
}

// Settlement is one transaction to send. Stamp is its timestamp: with the same
// stamp and the same key its bytes are the same.
type Settlement struct {
	Thesis uint64
	Stamp  uint64
	Claim
}

// Outcome is what became of a transaction.
type Outcome uint8

// The outcomes. What became of a transaction with the first three is not known,
// or nothing did: it is sent again as it is.
const (
	// Unknown: no answer came. It may have been executed.
	Unknown Outcome = iota
	// Busy: the node did not take it.
	Busy
	// Done: it settled the thesis, in the block of Answer.Height.
	Done
	// Gone: the thesis is settled, or was never there.
	Gone
	// Refuted: the chain's records contradict the claim.
	Refuted
	// Forgotten: the chain lacks prices that the claim rests on.
	Forgotten
	// Early: the chain does not allow it yet.
	Early
	// Denied: not from this sender, or not now.
	Denied
	// Stamped: the timestamp cannot be used: another process with the same key is
	// ahead. The chain's time will pass it.
	Stamped
	// Failed: for another reason.
	Failed
	outcomes
)

var outcomeNames = [...]string{"unknown", "busy", "done", "gone", "refuted", "forgotten", "early", "denied", "stamped", "failed"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// Kinds and Outcomes are how many there are, for whoever counts by them.
const (
	Kinds    = int(claims)
	Outcomes = int(outcomes)
)

// Answer says what became of the transaction of one thesis.
type Answer struct {
	Thesis  uint64
	Outcome Outcome
	Height  uint64 // the block that it is in; Done only
}

// errors of the chain by what they mean for a settler. Names are stable (protocol
// section 12), numbers are the module's business. What is not here is Failed.
var outcomeOf = map[string]Outcome{
	"ThesisNotFound": Gone, "ThesisNotActive": Gone,
	"BreachFound": Refuted, "InvalidBreachTimestamp": Refuted, "PriceWithinRange": Refuted, "OracleDataComplete": Refuted,
	"OracleDataNotFound":     Forgotten,
	"ChallengeWindowNotOver": Early,
	"Unauthorized":           Denied, "SettlerDisabled": Denied, "SystemPaused": Denied, "InvalidSignature": Denied, "ApiWalletNotAllowed": Denied,
	"InvalidTimestamp": Stamped,
	"Busy":             Busy, "Overloaded": Busy, "RateLimited": Busy, "Stopping": Busy,
	"Timeout": Unknown, "DuplicateTransaction": Unknown,
}

// OutcomeOf is what an error of the chain or the node means. DuplicateTransaction
// is Unknown: the transaction has been executed, and how it went is in its
// receipt.
func OutcomeOf(errorName string) Outcome {
	if o, known := outcomeOf[errorName]; known {
		return o
	}
	return Failed
}

// soon is a + b, and the end of time if that is later.
func soon(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}

// claimOf decides what to claim for a thesis, and from when on that is allowed.
func (c *Core) claimOf(it *item) (Claim, uint64) {
	due := soon(it.Due, c.cfg.BufferMs)
	grace := soon(due, GraceMs)
	switch {
	case it.doubt || it.denied && c.time >= grace:
		return Claim{Kind: Decide}, grace
	case it.gone:
		return Claim{Kind: Void}, due
	case it.breachTime != 0:
		return Claim{SolverWins, it.breachTime, it.breachPrice}, 0
	case it.Start < it.market.reachNow() || it.market.hasHole(it.Start, it.End, c.cfg.MaxStaleMs):
		return Claim{Kind: Void}, due
	}
	return Claim{Kind: UserWins}, due
}

// plan sets the timer of a thesis: when its claim is allowed, not before the
// given time.
func (c *Core) plan(it *item, notBefore uint64) {
	due := soon(it.Due, c.cfg.BufferMs)
	switch {
	case it.doubt:
		due = soon(due, GraceMs)
	case it.breachTime != 0 && !it.gone:
		due = 0
	}
	it.phase, it.at = idle, max(due, notBefore)
	c.timers.push(it)
}

// retry plans another attempt after a pause that grows.
func (c *Core) retry(it *item) {
	pause := min(uint64(backoffMs)<<min(it.tries, 8), maxBackoffMs)
	it.tries = min(it.tries+1, 100)
	c.plan(it, soon(c.time, pause))
}

// enqueue puts a thesis in line.
func (c *Core) enqueue(it *item) {
	if it.phase == idle {
		c.timers.remove(it)
	}
	c.enqueued++
	it.phase, it.order = queued, c.enqueued
	c.queue.push(it)
}

// Tick puts everything in line whose time has come.
func (c *Core) Tick() {
	for it := c.timers.top(); it != nil && it.at <= c.time; it = c.timers.top() {
		c.enqueue(it)
	}
}

// Next is the next batch to send: first what was sent before, unchanged, then new
// transactions with newer timestamps. There is none while one is out.
func (c *Core) Next() ([]Settlement, bool) {
	if c.out {
		return nil, false
	}
	clear(c.resumed) // the stream has told of everything that there was when it was asked
	var batch []Settlement
	for len(batch) < c.cfg.BatchSize {
		it := c.queue.top()
		if it == nil || it.stamp == 0 && c.stamp >= soon(c.time, MaxAheadMs) {
			break
		}
		c.queue.remove(it)
		if s, ok := c.send(it); ok {
			batch = append(batch, s)
		}
	}
	c.out = len(batch) > 0
	return batch, c.out
}

// send makes the transaction of a thesis; false if its time has not come after
// all.
func (c *Core) send(it *item) (Settlement, bool) {
	if it.stamp == 0 {
		claim, from := c.claimOf(it)
		if from > c.time {
			c.plan(it, from)
			return Settlement{}, false
		}
		c.stamp = max(c.stamp+1, c.time)
		c.setSent(it, c.stamp, claim)
	}
	it.phase = sent
	c.counts.Sent[it.claim.Kind]++
	c.counts.Out++
	return Settlement{it.ID, it.stamp, it.claim}, true
}

// setSent notes the transaction that was made for a thesis.
func (c *Core) setSent(it *item, stamp uint64, claim Claim) {
	it.stamp, it.claim = stamp, claim
	if stamp != 0 && !it.listed {
		it.listed = true
		c.inFlight = append(c.inFlight, it.ID)
	}
}

// Resume tells a core what its predecessor had in flight when it ended: what
// became of that is not known.
func (c *Core) Resume(inFlight []Settlement) {
	for i := range inFlight {
		s := &inFlight[i]
		c.stamp = max(c.stamp, s.Stamp)
		if it := c.items[s.Thesis]; it != nil {
			c.resend(it, s)
		} else {
			c.resumed[s.Thesis] = *s
		}
	}
}

// resend puts a transaction of a thesis in line as it was.
func (c *Core) resend(it *item, s *Settlement) {
	if it.phase != idle && it.phase != queued {
		return
	}
	c.unschedule(it)
	it.phase = idle
	c.setSent(it, s.Stamp, s.Claim)
	c.enqueue(it)
}

// Answer takes what became of the batch that is out. Theses without answer are
// as if it were Unknown.
func (c *Core) Answer(batch []Settlement, answers []Answer) {
	for i := range answers {
		a := &answers[i]
		c.counts.Answers[a.Outcome]++
		if it := c.items[a.Thesis]; it != nil && it.phase == sent {
			c.answer(it, a)
		}
	}
	for i := range batch {
		if it := c.items[batch[i].Thesis]; it != nil && it.phase == sent {
			c.enqueue(it)
		}
	}
	c.out, c.counts.Out = false, 0
}

func (c *Core) answer(it *item, a *Answer) {
	if a.Outcome == Unknown || a.Outcome == Busy {
		c.enqueue(it)
		return
	}
	if a.Outcome == Done {
		it.phase, it.until = answered, a.Height
		c.waiting = append(c.waiting, it.ID)
		c.reopenLost()
		return
	}
	it.stamp = 0
	switch a.Outcome {
	case Refuted, Forgotten:
		if it.claim.Kind == SolverWins && (it.preview || it.breachTime != it.claim.BreachTimestamp) {
			c.revoke(it) // the price was foreseen and did not come
			c.retry(it)
			return
		}
	}
	switch a.Outcome {
	case Gone:
		c.remove(it.ID)
	case Refuted:
		it.doubt = true
		c.retry(it)
	case Forgotten:
		it.doubt = it.gone
		it.gone = true
		c.retry(it)
	case Denied:
		it.denied = true
		c.retry(it)
	case Failed:
		it.doubt = it.doubt || it.tries >= maxTries
		c.retry(it)
	default:
		c.retry(it)
	}
}

// reopenLost looks for theses that were answered as settled, by a block that has
// been taken and did not say so: the answer was not true.
func (c *Core) reopenLost() {
	kept := c.waiting[:0]
	for _, id := range c.waiting {
		it := c.items[id]
		if it.until > c.height {
			kept = append(kept, id)
			continue
		}
		c.counts.Lost++
		it.stamp = 0
		c.retry(it)
	}
	c.waiting = kept
}
