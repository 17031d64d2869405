// Package rfq is the market: accounts and their API wallets, deposits and
// withdrawals, permissions, markets and their price history, and theses on it.
//
// It imports the SDK, the contract and its own sub-packages, like any module: no
// clock, no file, no reflection, no formatting. STATE.md beside this file shows
// every byte of its state.
//
//	decode ─▶ time window ─▶ signer ─▶ account, wallet ─▶ replay windows      (attribute.go)
//	    refused here, in no block
//	replay record written ─▶ accept ─▶ payload ─▶ events                       (execute.go)
//	    failed here, in the block with a code
//
// A Module has buffers and belongs to one goroutine. Nothing in it means anything
// from one call to the next, but for whether the system is paused.
package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/ring"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/schedule"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// Version is the module's own version, in its schema.
const Version = "2.2.1"

// Module implements [sdk.Module].
type Module struct {
	self     *Module // see kept
	tx       tx.Transaction
	hasher   tx.Hasher
	typed    sdk.Typed // id and signer of tx
	from     account   // of tx.From
	wallet   int       // which API wallet of from signed, or owner
	signed   replay    // that API wallet's replay window
	other    account   // of a transfer's receiver, or a quote's user
	quote    tx.Hash   // of a quote
	accepted sdk.Typed // digest and signer of a quote
	book     book      // of a thesis
	thesis   thesis
	party    party
	ring     ring.Ring
	schedule schedule.Schedule
	shown    market // of the thesis that a query has shown last
	key      [abi.MaxKeyBytes]byte
	pause    pause
	reads    [readTo + 1]sdk.Request      // what attribute asks for
	writes   [writeAccept + 1]sdk.Request // what a transfer comes to
	event    [abi.MaxEventBytes]byte
	json     [4 << 10]byte
	_        [0]func() // not comparable: the compiler would write code for it
}

// owner says that the account's own key signed.
const owner = -1

// New makes a module.
func New() sdk.Module {
	m := &Module{}
	m.self = m
	m.reads[readSigner].Signer712(&tx.DomainSeparator, &m.typed)
	m.reads[readFrom].Load(m.from.key[:], m.from.buf[:])
	m.reads[readTo].Load(m.other.key[:], m.other.buf[:])
	m.writes[writeTo].Set(m.other.key[:], m.other.buf[:])
	m.writes[writeEvent].Emit(m.event[:transferEvent])
	m.writes[writeFrom].Set(m.from.key[:], m.from.buf[:])
	m.writes[writeAccept].Accept(&m.typed.Digest)
	return m
}

// kept is m. The compiler of guests loads a parameter from the stack wherever it is used,
// and after a call whatever was there before; what was loaded since then it keeps. So the
// path of a transfer asks for m again where it begins and after each call.
func (m *Module) kept() *Module { return m.self }

// Inspect implements [sdk.Module].
func (m *Module) Inspect(env *sdk.Env, b []byte, out *abi.Inspection) abi.Code {
	t := &m.tx
	if !tx.Decode(b, t) {
		return malformed(env, b)
	}
	out.ID = m.hasher.Digest(env, t)
	out.Signatures = append(out.Signatures, abi.Signature{Digest: out.ID, Sig: t.Signature})
	if t.Kind == tx.KindRfqSubmit {
		digest := m.hasher.QuoteDigest(env, &t.RfqSubmit.Quote)
		out.Signatures = append(out.Signatures, abi.Signature{Digest: digest, Sig: t.RfqSubmit.UserSignature})
	}
	return abi.CodeOK
}

// Admit implements [sdk.Module].
func (m *Module) Admit(env *sdk.Env, ctx abi.Context, b []byte) abi.Code {
	return m.attribute(env, ctx, b, false)
}

// EndBlock implements [sdk.Module].
func (m *Module) EndBlock(*sdk.Env, abi.Context) abi.Code { return abi.CodeOK }

func malformed(env *sdk.Env, b []byte) abi.Code {
	return env.Fail(CodeMalformed, env.Text("the ").U64(uint64(len(b))).Str(" bytes are not the Borsh encoding of a transaction"))
}
