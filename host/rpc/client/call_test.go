package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// echo keeps the request and answers with what the test says, after the id.
type echo struct {
	request []byte
	answer  string
}

func (e *echo) roundTrip(_ context.Context, id uint64, request []byte) ([]byte, error) {
	e.request = request
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d%s}`, id, e.answer), nil
}

func (e *echo) close() error { return nil }

// TestRawParams: parameters that are JSON already are sent as they stand, and only
// if they are one value.
func TestRawParams(t *testing.T) {
	e := &echo{answer: `,"result":null`}
	c := &Client{transport: e}
	for _, params := range []string{`[]`, ` [ "0x00" ,{"a":"<\u003c"}] `, `{}`, `null`, `7`, "[\"\xff\"]", strings.Repeat("[", 40) + strings.Repeat("]", 40)} {
		if err := c.Call(t.Context(), "m", json.RawMessage(params), nil); err != nil {
			t.Errorf("%s: %v", params, err)
		}
		var sent, want struct {
			Method string
			Params any
		}
		if err := json.Unmarshal(e.request, &sent); err != nil {
			t.Fatalf("%s: %v", e.request, err)
		}
		if err := json.Unmarshal([]byte(params), &want.Params); err != nil || sent.Method != "m" || !reflect.DeepEqual(sent.Params, want.Params) {
			t.Errorf("%s is sent as %s (%v)", params, e.request, err)
		}
	}
	for _, params := range []string{` `, `[`, `[]]`, `[],"method":"n"`, `[]}`, `[1,]`, `"`, "[\"\n\"]", `{"a":1 "b"}`, `nul`} {
		e.request = nil
		_, marshal := json.Marshal(json.RawMessage(params))
		if err := c.Call(t.Context(), "m", json.RawMessage(params), nil); err == nil || e.request != nil || err.Error() != "m: parameters: "+marshal.Error() {
			t.Errorf("%s is sent as %s (%v)", params, e.request, err)
		}
	}
	for _, none := range []any{nil, json.RawMessage(nil)} { // the second is null, as encoding/json has it
		if err := c.Call(t.Context(), "m", none, nil); err != nil || bytes.Contains(e.request, []byte("params")) != (none != nil) {
			t.Errorf("%s (%v)", e.request, err)
		}
	}
}

// TestSendRequests: what is written by hand is what encoding/json makes of it, in a
// buffer that is large enough from the beginning.
func TestSendRequests(t *testing.T) {
	e := &echo{answer: `,"result":[]`}
	c := &Client{transport: e}
	for n := range 4 {
		raws := manyTransfers(n)
		texts := make([]api.Bytes, n)
		for i := range raws {
			texts[i] = raws[i]
		}
		if _, err := c.SendTransactions(t.Context(), raws); err != nil {
			t.Fatal(err)
		}
		checkRequest(t, e.request, n+1, "kaizen_sendTransactions", []any{texts})
		if got := len(appendTxs(nil, raws)); txsBytes(raws) != got {
			t.Errorf("%d transactions: %d bytes, expected %d", n, got, txsBytes(raws))
		}
	}
	e.answer = `,"result":{}`
	if _, err := c.SendTransaction(t.Context(), []byte{7, 0xAB}); err != nil {
		t.Fatal(err)
	}
	checkRequest(t, e.request, 5, "kaizen_sendTransaction", []any{"0x07ab"})
}

func checkRequest(t *testing.T, got []byte, id int, method string, params any) {
	t.Helper()
	want, err := json.Marshal(struct {
		Version string `json:"jsonrpc"`
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", id, method, params})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("request %s, want %s (%v)", got, want, err)
	}
}

// TestRawResult: a result that stays JSON is what encoding/json would make of it,
// whatever was there before, and cannot grow into the rest of the answer.
func TestRawResult(t *testing.T) {
	e := &echo{}
	c := &Client{transport: e}
	for _, text := range []string{`null`, `{"a": [1] }`, `"x"`, `7`} {
		e.answer = `,"result": ` + text + ` ,"more":[]`
		got := json.RawMessage("what was there before")
		if err := c.Call(t.Context(), "m", nil, &got); err != nil || string(got) != text || cap(got) != len(got) {
			t.Errorf("%s is %q with room for %d (%v)", text, got, cap(got), err)
		}
	}
	e.answer = ``
	var missing json.RawMessage
	if err := c.Call(t.Context(), "m", nil, &missing); err == nil || !strings.HasSuffix(err.Error(), "result: unexpected end of JSON input") {
		t.Errorf("no result: %s (%v)", missing, err)
	}
	e.answer = `,"result":7`
	if err := c.Call(t.Context(), "m", nil, (*json.RawMessage)(nil)); err == nil {
		t.Error("a result for nobody")
	}
}

// TestAnswerNames: members are found however their names are spelled.
func TestAnswerNames(t *testing.T) {
	a, ok := readAnswer([]byte(`{"\u006asonrpc":"2.0","i\u0064":7,"r\u0065sult":[1],"erro\u0072":{},"results":2}`))
	if !ok || string(a.id) != "7" || string(a.result) != "[1]" || string(a.err) != "{}" {
		t.Errorf("%v: %s", ok, a)
	}
}

// TestAnswerID: what decides whose an answer is.
func TestAnswerID(t *testing.T) {
	for text, want := range map[string]uint64{
		`{"jsonrpc":"2.0","id":7,"result":1}`: 7, ` {"result":{"id":3}, "id" : 18446744073709551615 }`: 1<<64 - 1, `{"\u0069d":7}`: 7, `{"id":7,"result":`: 7,
	} {
		if id, ok := answerID([]byte(text)); !ok || id != want {
			t.Errorf("%s is for %d (%v), want %d", text, id, ok, want)
		}
	}
	for _, text := range []string{``, `7`, `[]`, `{}`, `{"id":"7"}`, `{"id":null}`, `{"id":-1}`, `{"id":1.0}`, `{"id":18446744073709551616}`, `{"result":x,"id":7}`, `{"method":"kaizen_subscription","params":{"id":7}}`} {
		if id, ok := answerID([]byte(text)); ok {
			t.Errorf("%s is for %d", text, id)
		}
	}
}

// TestSendAnswersInOnePass: what a node says is read without encoding/json.
func TestSendAnswersInOnePass(t *testing.T) {
	for _, text := range []string{`{"jsonrpc":"2.0","id":7,"result":{}}`, ` { "id":7 , "result":{"a":1},"jsonrpc":"2.0" } `} {
		took := false
		if !readResult([]byte(text), 7, func(sc *jsonscan.Scanner) bool { _, took = sc.Value(); return took }) || !took {
			t.Errorf("%s was left", text)
		}
	}
}

// FuzzSendAnswers holds the answers of the send methods to the way that every other
// answer goes: the same receipts, or the same error.
func FuzzSendAnswers(f *testing.F) {
	const id = 7
	for _, result := range []string{sentReceipt, "[" + sentReceipt + "," + sentReceipt + "]", `null`, `{}`, `[]`, `[{"status":"ok","added":[1]}]`, `[{"Status":"ok"}]`, `{"height":1,"height":null}`, `[7]`, `[{"events":[7]}]`} {
		for _, answer := range []string{`{"jsonrpc":"2.0","id":7,"result":%s}`, ` { "id" : 7 , "result" : %s , "jsonrpc" : "2.0" } `, `{"jsonrpc":"2.0","id":8,"result":%s}`, `{"jsonrpc":"2.0","id":7,"result":%s,"result":[]}`, `{"jsonrpc":"2.0","id":7,"result":%s,"result":{}}`,
			`{"jsonrpc":"2.0","id":7,"result":%s,"error":{"code":-32000,"message":"Busy: x","data":{"name":"Busy"}}}`, `{"jsonrpc":"2.0","id":7,"result":%s,"more":1}`, `{"jsonrpc":"2","id":7,"result":%s}`, `{"id":7,"result":%s}`,
			`{"jsonrpc":"2.0","result":%s}`, `{"jsonrpc":"2.0","id":7,"id":7,"jsonrpc":"2.0","r\u0065sult":%s}`, `{"jsonrpc":"2.0","id":7,"result":%s}}`, `{"jsonrpc":"2.0","id":7}`, `%s`, `{"jsonrpc":"2.0","id":7,"id":8,"result":%s}`} {
			f.Add([]byte(strings.Replace(answer, "%s", result, 1)))
		}
	}
	c := &Client{url: "http://node"}
	f.Fuzz(func(t *testing.T, b []byte) {
		var one api.Receipt
		oneErr := c.decode("m", id, b, &one)
		gotOne, err := c.decodeReceipt("m", id, b)
		checkSame(t, b, gotOne, one, err, oneErr)
		var many []api.Receipt
		manyErr := c.decode("m", id, b, &many)
		gotMany, err := c.decodeReceipts("m", id, b, 2)
		checkSame(t, b, gotMany, many, err, manyErr)
	})
}

func checkSame(t *testing.T, b []byte, got, want any, err, wantErr error) {
	t.Helper()
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(err, wantErr) {
		t.Fatalf("%q\nis   %+v (%v)\nwant %+v (%v)", b, got, err, want, wantErr)
	}
}
