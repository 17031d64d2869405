package keys

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
)

// MaxMessageBytes bounds a message that is signed or checked, bytes.
const MaxMessageBytes = 1 << 20

// SignMessage signs text as wallets do it (EIP-191, personal_sign): r ‖ s ‖ v with
// v 27 or 28. What it signs begins so that it can be neither a transaction nor
// typed data.
func SignMessage(key *secp.Key, message []byte) (sig [65]byte, err error) {
	digest := messageDigest(message)
	if sig, err = key.Sign(&digest); err != nil {
		return sig, fmt.Errorf("sign message: %w", err)
	}
	return sig, nil
}

// MessageSigner is the account whose key signed a message; false if the signature
// is none.
func MessageSigner(message []byte, sig *[65]byte) (chain.Address, bool) {
	digest := messageDigest(message)
	return secp.Recover(&digest, sig)
}

func messageDigest(message []byte) [32]byte {
	return secp.Keccak256(append(fmt.Appendf(nil, "\x19Ethereum Signed Message:\n%d", len(message)), message...))
}
