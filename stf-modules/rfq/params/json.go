//go:build !wasip1

package params

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// ErrParams is wrapped by every error of [Params.Validate] and [ParseJSON].
var ErrParams = errors.New("market parameters")

// Validate is [Params.Check] as an error.
func (p *Params) Validate() error {
	if problem := p.Check(); problem != "" {
		return fmt.Errorf("%w: %s", ErrParams, problem)
	}
	return nil
}

// Sort puts accounts into the order that the encoding wants.
func (p *Params) Sort() {
	slices.SortFunc(p.Accounts, func(a, b Account) int { return bytes.Compare(a.Address[:], b.Address[:]) })
}

// Token is the address of one of the known tokens (protocol section 6): BTC, ETH,
// SOL, USDT.
func Token(symbol string) (a tx.Address, ok bool) {
	switch symbol {
	case "BTC":
		a[19] = 1
	case "ETH":
		a[19] = 2
	case "SOL":
		a[19] = 3
	case "USDT":
		a[18] = 1
	default:
		return a, false
	}
	return a, true
}

// Default is the three known markets against USDT and no accounts.
func Default() Params {
	p := Params{ChallengeWindowMs: DefaultChallengeWindowMs}
	quote, _ := Token("USDT")
	for _, symbol := range []string{"BTC", "ETH", "SOL"} {
		base, _ := Token(symbol)
		p.Markets = append(p.Markets, Market{Base: base, Quote: quote, Name: symbol + "/USDT",
			Limits: tx.Limits{MinBet: 10_000, MaxBet: 100_000_000_000, MaxOpenInterest: 10_000_000_000_000}})
	}
	return p
}

// The JSON form: hex addresses, amounts as decimal strings, permissions by name.
type (
	jsonParams struct {
		ChallengeWindowMs uint64        `json:"challenge_window_ms"`
		Accounts          []jsonAccount `json:"accounts"`
		Markets           []jsonMarket  `json:"markets"`
	}
	jsonAccount struct {
		Address     jsonAddress `json:"address"`
		Balance     jsonAmount  `json:"balance"`
		Permissions []string    `json:"permissions,omitempty"`
	}
	jsonMarket struct {
		Name            string      `json:"name"`
		Base            jsonAddress `json:"base"`
		Quote           jsonAddress `json:"quote"`
		MinBet          jsonAmount  `json:"min_bet"`
		MaxBet          jsonAmount  `json:"max_bet"`
		MaxOpenInterest jsonAmount  `json:"max_open_interest"`
	}
	jsonAddress tx.Address
	jsonAmount  uint64
)

func (a jsonAddress) MarshalText() ([]byte, error) {
	return []byte("0x" + hex.EncodeToString(a[:])), nil
}

func (a *jsonAddress) UnmarshalText(b []byte) error {
	digits, found := strings.CutPrefix(string(b), "0x")
	if !found || len(digits) != 40 {
		return fmt.Errorf("address %.80q: want 0x and 40 hex digits", b)
	}
	_, err := hex.Decode(a[:], []byte(digits))
	return err
}

func (v jsonAmount) MarshalText() ([]byte, error) {
	return strconv.AppendUint(nil, uint64(v), 10), nil
}

func (v *jsonAmount) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 64)
	*v = jsonAmount(n)
	return err
}

// ParseJSON reads the JSON form: one object, no unknown member, accounts in any
// order. The result is valid.
func ParseJSON(b []byte) (*Params, error) {
	var j jsonParams
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrParams, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one JSON value", ErrParams)
	}
	p := &Params{ChallengeWindowMs: j.ChallengeWindowMs}
	for i := range j.Accounts {
		a, err := j.Accounts[i].plain()
		if err != nil {
			return nil, fmt.Errorf("%w: accounts[%d]: %w", ErrParams, i, err)
		}
		p.Accounts = append(p.Accounts, a)
	}
	for _, m := range j.Markets {
		p.Markets = append(p.Markets, Market{Base: tx.Address(m.Base), Quote: tx.Address(m.Quote), Name: m.Name,
			Limits: tx.Limits{MinBet: uint64(m.MinBet), MaxBet: uint64(m.MaxBet), MaxOpenInterest: uint64(m.MaxOpenInterest)}})
	}
	p.Sort()
	return p, p.Validate()
}

func (j *jsonAccount) plain() (Account, error) {
	a := Account{Address: tx.Address(j.Address), Balance: uint64(j.Balance)}
	for _, name := range j.Permissions {
		bit, ok := tx.PermissionBit(name)
		if !ok {
			return a, fmt.Errorf("unknown permission %q, known are %v", name, tx.PermissionNames)
		}
		a.Permissions |= bit
	}
	return a, nil
}

// JSON is the JSON form of p, indented.
func (p *Params) JSON() []byte {
	j := jsonParams{ChallengeWindowMs: p.ChallengeWindowMs, Accounts: []jsonAccount{}, Markets: []jsonMarket{}}
	for i := range p.Accounts {
		a := &p.Accounts[i]
		out := jsonAccount{Address: jsonAddress(a.Address), Balance: jsonAmount(a.Balance)}
		for bit, name := range tx.PermissionNames {
			if a.Permissions>>bit&1 == 1 {
				out.Permissions = append(out.Permissions, name)
			}
		}
		j.Accounts = append(j.Accounts, out)
	}
	for i := range p.Markets {
		m := &p.Markets[i]
		j.Markets = append(j.Markets, jsonMarket{Name: m.Name, Base: jsonAddress(m.Base), Quote: jsonAddress(m.Quote),
			MinBet: jsonAmount(m.Limits.MinBet), MaxBet: jsonAmount(m.Limits.MaxBet), MaxOpenInterest: jsonAmount(m.Limits.MaxOpenInterest)})
	}
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		panic(err) // the types above have no value that cannot be encoded
	}
	return append(b, '\n')
}
