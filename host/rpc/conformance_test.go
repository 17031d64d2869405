package rpc

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

var update = flag.Bool("update", false, "rewrite golden files")

const goldenFile = "testdata/conformance.golden"

// conformance is what clients send, good and bad. What the node answers is in
// the golden file, and must be the same over HTTP and over WebSocket.
func conformance() []string {
	call := func(method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}`, method, params)
	}
	txHash := func(b ...byte) string {
		f := fakeNode{}
		return f.execute(b).ID.String()
	}
	address := `"0x00000000000000000000000000000000000000aB"`
	return []string{
		// the envelope
		``, `  `, `{`, `{}x`, `"hello"`, `7`, `nul`, `{"jsonrpc":"2.0","id":1}`, `{"id":1,"method":"kaizen_info"}`, `{"jsonrpc":2.0,"id":1,"method":"kaizen_info"}`,
		`{"jsonrpc":"2.0","id":{},"method":"kaizen_info"}`, `{"jsonrpc":"2.0","id":true,"method":"kaizen_info"}`, `{"jsonrpc":"2.0","id":1,"method":7}`,
		`{"jsonrpc":"2.0","id":1,"id":2,"method":"kaizen_info"}`, `{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"kaizen_info"}`, `{"\u006asonrpc":"2.0","i\u0064":1,"m\u0065thod":"kaizen_nothin\u0067","p\u0061rams":7}`,
		`{"jsonrpc":"2.0","id":"` + strings.Repeat("i", 300) + `","method":"kaizen_info"}`,
		`{"jsonrpc":"2.0","id":1,"method":"kaizen_info","params":"x"}`, `{"jsonrpc":"2.0","id":1,"method":"kaizen_nothing"}`, `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("m", 200) + `"}`,
		`{"jsonrpc":"2.0","id":null,"method":"kaizen_getMarkets"}`, `{"jsonrpc":"2.0","id":"a\"b","method":"kaizen_getMarkets"}`, `{"jsonrpc":"2.0","id":1.5e3,"method":"kaizen_getMarkets","extra":1}`,
		`{"jsonrpc":"2.0","method":"kaizen_getMarkets"}`, `{"jsonrpc":"2.0","method":"kaizen_nothing"}`, strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"kaizen_info\"}",
		// batches
		`[]`, `[1,{}]`, `[{"jsonrpc":"2.0","method":"kaizen_getMarkets"}]`, `[` + call("kaizen_getMarkets", `[]`) + `,{"jsonrpc":"2.0","method":"kaizen_info"},` + call("kaizen_nothing", `[]`) + `]`,
		`[` + call("kaizen_sendTransaction", `["0x00"]`) + `,` + call("kaizen_sendTransaction", `["0x01"]`) + `,` + call("kaizen_sendTransactions", `[["0x00","0x01"]]`) + `,` + call("kaizen_getMarkets", `[]`) + `,` + call("kaizen_sendTransaction", `["0x02"]`) + `]`,
		`[` + call("kaizen_getMarkets", `[]`) + `,]`,
		// no parameters
		call("kaizen_info", `[]`), call("kaizen_info", `{}`), call("kaizen_info", `null`), call("kaizen_info", `[1]`), call("kaizen_info", `{"x":1}`), call("kaizen_status", `[]`),
		// sending
		call("kaizen_sendTransaction", `["0x00aabb"]`), call("kaizen_sendTransaction", `{"transaction":"0x00AABB"}`), call("kaizen_sendTransaction", `["0x02"]`),
		call("kaizen_sendTransaction", `["0x01"]`), call("kaizen_sendTransaction", `["0x03"]`), call("kaizen_sendTransaction", `["0x05"]`),
		call("kaizen_sendTransaction", `[]`), call("kaizen_sendTransaction", `[7]`), call("kaizen_sendTransaction", `["0x"]`), call("kaizen_sendTransaction", `["00"]`), call("kaizen_sendTransaction", `["0x0"]`), call("kaizen_sendTransaction", `["0x0g"]`),
		call("kaizen_sendTransaction", `["0x00","0x01"]`), call("kaizen_sendTransaction", `{"tx":"0x00"}`), call("kaizen_sendTransaction", `{"transaction":"0x00","transaction":"0x01"}`),
		call("kaizen_sendTransaction", `["0x`+strings.Repeat("00", abi.MaxTxBytes+1)+`"]`),
		call("kaizen_sendTransactions", `[["0x00","0x01","0x02","0x03","0x04"]]`), call("kaizen_sendTransactions", `{"transactions":["0x00"]}`), call("kaizen_sendTransactions", `[[]]`),
		call("kaizen_sendTransactions", `["0x00"]`), call("kaizen_sendTransactions", `[["0x00","0x"]]`), call("kaizen_sendTransactions", `[["0x00",["0x00"]]]`), call("kaizen_sendTransactions", `[["0x05"]]`), call("kaizen_sendTransactions", `[]`),
		call("kaizen_simulateTransaction", `["0x00"]`), call("kaizen_simulateTransaction", `["0x02","pending"]`), call("kaizen_simulateTransaction", `["0x01"]`), call("kaizen_simulateTransaction", `[null]`),
		// blocks
		call("kaizen_getBlock", `[2]`), call("kaizen_getBlock", `[2,"hashes"]`), call("kaizen_getBlock", `{"height":"earliest"}`), call("kaizen_getBlock", `["pending"]`), call("kaizen_getBlock", `["proven"]`), call("kaizen_getBlock", `[9]`), call("kaizen_getBlock", `[2,"all"]`), call("kaizen_getBlock", `[2,7]`),
		call("kaizen_getHeader", `[]`), call("kaizen_getHeader", `[0]`), call("kaizen_getHeader", `["2"]`), call("kaizen_getHeader", `[-1]`), call("kaizen_getHeader", `[1.0]`), call("kaizen_getHeader", `[18446744073709551616]`), call("kaizen_getHeader", `["0x10"]`), call("kaizen_getHeader", `["newest"]`), call("kaizen_getHeader", `[true]`),
		call("kaizen_getHeader", `["0x`+strings.Repeat("ee", 32)+`"]`),
		// transactions
		call("kaizen_getTransaction", `["`+txHash(0, 0xAA)+`"]`), call("kaizen_getTransaction", `["`+txHash(2, 0xBB)+`"]`), call("kaizen_getReceipt", `["`+txHash(0)+`"]`), call("kaizen_getReceipt", `{"tx_hash":"`+txHash(2, 0xBB)+`"}`), call("kaizen_getReceipt", `["`+txHash(9)+`"]`), call("kaizen_getReceipt", `["0x12"]`), call("kaizen_getReceipt", `[]`),
		call("kaizen_getAccountTransactions", `[`+address+`]`), call("kaizen_getAccountTransactions", `{"address":`+address+`,"limit":1}`), call("kaizen_getAccountTransactions", `[`+address+`,101]`), call("kaizen_getAccountTransactions", `[`+address+`,5,"0x00"]`), call("kaizen_getAccountTransactions", `[]`),
		call("kaizen_getAccountTransactions", `[`+address+`,5,"0xffffffffffffffff00000000"]`),
		// state
		call("kaizen_getAccount", `[`+address+`]`), call("kaizen_getAccount", `{"address":`+address+`,"height":1}`), call("kaizen_getAccount", `[`+address+`,"pending"]`), call("kaizen_getAccount", `["0x1"]`), call("kaizen_getAccount", `[{}]`), call("kaizen_getAccount", `[`+address+`,"proven"]`), call("kaizen_getAccount", `[`+address+`,null]`), call("kaizen_getAccount", `[`+address+`,1,2]`),
		call("kaizen_getMarkets", `["safe"]`), call("kaizen_getOraclePrices", `[]`), call("kaizen_getOraclePrices", `[7]`), call("kaizen_getOraclePrices", `[""]`),
		call("kaizen_named", `["refuse"]`), call("kaizen_named", `["state"]`), call("kaizen_named", `["secret"]`), call("kaizen_named", `["broken"]`), call("kaizen_named", `["list"]`), call("kaizen_named", `["panic"]`), call("kaizen_named", `["\u006d"]`), call("kaizen_named", `["`+strings.Repeat("x", 17)+`"]`), call("kaizen_named", `[]`),
		call("kaizen_filter", `[{"pair":"BTC/USDT","limit":100},2]`), call("kaizen_filter", `{"limit":101}`), call("kaizen_filter", `[{"limits":1}]`), call("kaizen_filter", `[7]`), call("kaizen_filter", `[{"amount":"07"}]`), call("kaizen_filter", `[{"amount":7}]`), call("kaizen_filter", `[{"amount":"18446744073709551615"}]`), call("kaizen_filter", `[{},2,3]`), call("kaizen_filter", `[null,2]`),
		call("kaizen_getProof", `[{"account":`+address+`}]`), call("kaizen_getProof", `{"key":"0x62","height":1}`), call("kaizen_getProof", `[{"key":"0x62"},"pending"]`), call("kaizen_getProof", `[{"key":"0x62","account":`+address+`}]`), call("kaizen_getProof", `[{}]`), call("kaizen_getProof", `["0x62"]`), call("kaizen_getProof", `[]`), call("kaizen_getProof", `[{"key":"0x`+strings.Repeat("00", abi.MaxKeyBytes+1)+`"}]`),
		call("kaizen_query", `["0x61"]`), call("kaizen_query", `["0x6c697374","earliest"]`), call("kaizen_query", `["0x62726f6b656e"]`), call("kaizen_query", `["0x"]`), call("kaizen_query", `[]`),
		// subscriptions: what works is WebSocket's alone
		call("kaizen_subscribe", `[]`), call("kaizen_subscribe", `["news"]`), call("kaizen_subscribe", `["theses"]`), call("kaizen_subscribe", `["blocks",{"type":"transfer"}]`), call("kaizen_subscribe", `["events",{"type":"none"}]`), call("kaizen_subscribe", `["events",{"type":[]}]`),
		call("kaizen_subscribe", `["prices"]`), call("kaizen_subscribe", `{"topic":"prices","pair":"BTC"}`), call("kaizen_subscribe", `["blocks",{"height":-1}]`), call("kaizen_subscribe", `["blocks",null,{"index":1}]`), call("kaizen_subscribe", `["blocks",{},"newest"]`), call("kaizen_subscribe", `["blocks",{"from":7}]`), call("kaizen_subscribe", `["blocks",{},{},7]`),
		call("kaizen_unsubscribe", `[]`), call("kaizen_unsubscribe", `[7]`), call("rpc.discover", `[1]`),
	}
}

// barrier is a call that is sent after each request over WebSocket, so that a
// request that gets no answer is seen to get none.
const barrier = `{"jsonrpc":"2.0","id":"barrier","method":"kaizen_nothing"}`

func TestConformance(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	ws := w.dialWS()
	defer ws.CloseNow()
	_, barrierAnswer := w.post(barrier)

	var text strings.Builder
	for _, request := range conformance() {
		status, answer := w.post(request)
		if (status == 204) != (answer == "") || (status != 200 && status != 204) {
			t.Errorf("%s\nHTTP %d with %q", request, status, answer)
		}
		if answer != "" && !json.Valid([]byte(answer)) {
			t.Errorf("%s\nanswered with what is not JSON: %s", request, answer)
		}
		got := overWS(t, ws, request, answer != "", barrierAnswer)
		if got != answer {
			t.Errorf("%s\nover HTTP:      %s\nover WebSocket: %s", request, answer, got)
		}
		fmt.Fprintf(&text, "> %s\n< %s\n\n", clipMiddle(strings.ToValidUTF8(request, "?")), answer)
	}
	checkGolden(t, text.String())
}

// overWS is the answer to a request over WebSocket, "" if none is expected; one
// that comes nevertheless spoils the next request.
func overWS(t *testing.T, conn *websocket.Conn, request string, answered bool, barrierAnswer string) string {
	wsSend(t, conn, request)
	wsSend(t, conn, barrier)
	first := wsRead(t, conn)
	if !answered {
		if first != barrierAnswer {
			t.Fatalf("%s was answered over WebSocket: %s", request, first)
		}
		return ""
	}
	second := wsRead(t, conn)
	if first == barrierAnswer {
		return second
	}
	if second != barrierAnswer {
		t.Fatalf("after %s: %s", request, second)
	}
	return first
}

// clipMiddle keeps the golden file readable.
func clipMiddle(s string) string {
	if len(s) <= 1000 {
		return s
	}
	return fmt.Sprintf("%s … %d bytes … %s", s[:100], len(s)-200, s[len(s)-100:])
}

func checkGolden(t *testing.T, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s line %d (-update rewrites it)\nrequest %s\ngot     %s\nwant    %s", goldenFile, i+1, g[max(0, i-1)], g[i], w[i])
		}
	}
	t.Fatalf("%s has %d lines, got %d", goldenFile, len(w), len(g))
}

// TestConformanceCoversEveryMethod fails when a method is added without a
// request in the table.
func TestConformanceCoversEveryMethod(t *testing.T) {
	w := start(t, nil)
	defer w.stop()
	all := strings.Join(conformance(), "\n")
	for name := range w.server.methods {
		if !strings.Contains(all, `"`+name+`"`) {
			t.Errorf("no request in the table calls %s", name)
		}
	}
}
