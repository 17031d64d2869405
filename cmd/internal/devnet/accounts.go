package devnet

import (
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Balance is what each account begins with: 1,000,000 USDC.
const Balance = 1_000_000_000_000

// The accounts with a job (protocol section 1).
const (
	AdminAccount   = 0
	RelayerAccount = 8
	SettlerAccount = 9
	// Traffic uses these and no others. The first of them is the solver too, the
	// others bet.
	firstTrafficAccount, lastTrafficAccount = 4, 7
	solverAccount                           = firstTrafficAccount
)

var permissions = map[int]uint8{AdminAccount: tx.PermAdmin, RelayerAccount: tx.PermRelayer, SettlerAccount: tx.PermSettler}

// Account is one account of the development mnemonic.
type Account struct {
	Index       int
	Address     chain.Address
	Key         *secp.Key
	Permissions uint8 // tx.PermAdmin …
}

// Accounts derives all of them.
func Accounts() ([]Account, error) {
	accounts := make([]Account, keys.DevAccounts)
	for i := range accounts {
		key, err := keys.DevKey(i)
		if err != nil {
			return nil, err
		}
		accounts[i] = Account{Index: i, Address: key.Address(), Key: key, Permissions: permissions[i]}
	}
	return accounts, nil
}

// Params are the market's genesis parameters of a development chain: the known
// markets, and every account funded.
func Params() (*params.Params, error) {
	accounts, err := Accounts()
	if err != nil {
		return nil, err
	}
	p := params.Default()
	for _, a := range accounts {
		p.Accounts = append(p.Accounts, params.Account{Address: tx.Address(a.Address), Balance: Balance, Permissions: a.Permissions})
	}
	p.Sort()
	return &p, p.Validate()
}
