package wire

import (
	"errors"
	"fmt"
)

// Why a handshake is refused. A [Refusal] is one of them, with both values.
var (
	ErrVersion = errors.New("protocol version differs")
	ErrChain   = errors.New("chain id differs")
	ErrGenesis = errors.New("genesis differs")
	ErrModule  = errors.New("STF module differs")
	ErrFrame   = errors.New("maximum frame size does not fit")
	ErrBusy    = errors.New("too many connections")
	// ErrProtocol: the peer says that we broke the protocol.
	ErrProtocol = errors.New("peer reports a breach of protocol")
)

// What a peer can do wrong; each ends the connection.
var (
	// ErrMagic: the first bytes are no handshake of this protocol.
	ErrMagic = errors.New("peer does not speak this protocol")
	// ErrPeerTLS: the peer speaks TLS to a port where none is configured.
	ErrPeerTLS = errors.New("peer speaks TLS, which is not configured on this port")
	// ErrTruncated: the connection ended inside a frame.
	ErrTruncated = errors.New("connection ended inside a frame")
	// ErrFrameSize: a length prefix of zero or above the limit.
	ErrFrameSize = errors.New("frame length out of range")
	// ErrUnknownType: a message type that this version does not have.
	ErrUnknownType = errors.New("unknown message type")
	// ErrMalformed: bytes that are not an encoding of their message.
	ErrMalformed = errors.New("malformed message")
	// ErrUnexpected: a message that this side, or this moment, does not allow.
	ErrUnexpected = errors.New("unexpected message")
	// ErrUnsolicited: an answer to nothing that was asked.
	ErrUnsolicited = errors.New("answer to no request")
	// ErrWrongAnswer: an answer of another kind than the request.
	ErrWrongAnswer = errors.New("answer of the wrong kind")
	// ErrOutOfOrder: blocks that are not the consecutive ones asked for.
	ErrOutOfOrder = errors.New("blocks are not the ones asked for")
	// ErrDoorbell: a block that rides along is not the one announced.
	ErrDoorbell = errors.New("doorbell carries another block")
	// ErrIdle: nothing came for too long.
	ErrIdle = errors.New("peer is silent")
	// ErrSlow: a frame took too long.
	ErrSlow = errors.New("peer is too slow")
	// ErrNoAnswer: a request was not answered in time.
	ErrNoAnswer = errors.New("request was not answered in time")
)

var (
	// ErrClosed: this side closed the connection.
	ErrClosed = errors.New("connection is closed")
	// ErrRemote is a request that the peer could not answer for reasons of its own.
	ErrRemote = errors.New("peer failed to answer")
	// ErrAddress is wrapped by [ParseAddress] with what is wrong.
	ErrAddress = errors.New("address is not usable")
)

// Code names why a connection ends, on the wire.
type Code uint16

// Codes of a [Refusal].
const (
	CodeVersion  Code = 1
	CodeChain    Code = 2
	CodeGenesis  Code = 3
	CodeModule   Code = 4
	CodeFrame    Code = 5
	CodeBusy     Code = 6
	CodeProtocol Code = 7 // the peer broke the protocol; Theirs says how
)

var refusals = [...]struct {
	err  error
	what string
}{
	CodeVersion: {ErrVersion, "protocol version"}, CodeChain: {ErrChain, "chain id"}, CodeGenesis: {ErrGenesis, "genesis"},
	CodeModule: {ErrModule, "STF module"}, CodeFrame: {ErrFrame, "maximum frame"}, CodeBusy: {ErrBusy, "connections"},
	CodeProtocol: {ErrProtocol, "protocol"},
}

// Refusal says why one side will not talk to the other, with both values. On the
// wire, Ours is the sender's.
type Refusal struct {
	Code         Code
	Ours, Theirs string
	// ByPeer is set on the side that was refused.
	ByPeer bool
}

func (r *Refusal) Error() string {
	what, who := fmt.Sprintf("code %d", r.Code), "peer refused"
	if int(r.Code) < len(refusals) && refusals[r.Code].err != nil {
		what = refusals[r.Code].what
	}
	if r.ByPeer {
		who = "refused by peer"
	}
	return fmt.Sprintf("%s: %s is %s here, %s there", who, what, r.Ours, r.Theirs)
}

// Unwrap is the error that the code stands for.
func (r *Refusal) Unwrap() error {
	if int(r.Code) < len(refusals) {
		return refusals[r.Code].err
	}
	return nil
}

// received turns a refusal from the wire to this side's point of view.
func (r Refusal) received() *Refusal {
	return &Refusal{Code: r.Code, Ours: r.Theirs, Theirs: r.Ours, ByPeer: true}
}
