// Package query is what the market's query export can be asked: one tag byte,
// then arguments in Borsh. Answers are JSON, see QUERIES.md beside package rfq.
//
// It imports stf-modules/abi and stf-modules/rfq/tx; hosts and the guest both use
// it. Functions are pure.
package query

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Tag is the first byte of a query.
type Tag byte

// The queries. Those from 32 on are about theses.
const (
	TagAccount    Tag = 1  // address: balance, locked, api_wallets, permissions
	TagAccountKey Tag = 2  // address: the state key of the account, for a proof
	TagPrices     Tag = 3  // newest price of every market
	TagHistory    Tag = 4  // market name, from, to: recorded prices
	TagMarkets    Tag = 5  // every market with limits, open interest, paused
	TagTotals     Tag = 6  // where all the money is
	TagWithdrawal Tag = 7  // id
	TagDeposit    Tag = 8  // external transaction hash
	TagParams     Tag = 9  // what genesis fixed, and whether the system is paused
	TagThesis     Tag = 32 // id
	TagTheses     Tag = 33 // filter: a page of theses
	TagDue        Tag = 34 // market name, time, page: open theses in the order in which they are due
)

// MaxHistory bounds the prices of one TagHistory answer.
const MaxHistory = 2_000

// Account asks for an account.
func Account(a tx.Address) []byte { return append([]byte{byte(TagAccount)}, a[:]...) }

// AccountKey asks for an account's state key.
func AccountKey(a tx.Address) []byte { return append([]byte{byte(TagAccountKey)}, a[:]...) }

// Prices asks for the newest prices.
func Prices() []byte { return []byte{byte(TagPrices)} }

// History asks for the prices that market recorded in [from, to], ms. An answer
// has at most MaxHistory, and says from when to ask for more.
func History(market string, from, to uint64) []byte {
	b := abi.AppendString([]byte{byte(TagHistory)}, market)
	return abi.AppendU64(abi.AppendU64(b, from), to)
}

// Markets asks for all markets.
func Markets() []byte { return []byte{byte(TagMarkets)} }

// Totals asks for the sums that must balance.
func Totals() []byte { return []byte{byte(TagTotals)} }

// Withdrawal asks for a withdrawal.
func Withdrawal(id uint64) []byte { return abi.AppendU64([]byte{byte(TagWithdrawal)}, id) }

// Deposit asks for the deposit of an external transaction.
func Deposit(externalTxHash tx.Hash) []byte {
	return append([]byte{byte(TagDeposit)}, externalTxHash[:]...)
}

// Params asks for the parameters.
func Params() []byte { return []byte{byte(TagParams)} }
