package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/crypto/scrypt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/secp"
)

// Cost is how much work one guess of a password takes: scrypt's N and P, with
// r = 8.
type Cost struct{ N, P int }

// The two costs that geth uses: Strong takes 256 MiB and about a second, Light
// 4 MiB and milliseconds.
var (
	Strong = Cost{N: 1 << 18, P: 1}
	Light  = Cost{N: 1 << 12, P: 6}
)

// What a file from elsewhere may ask for, so that reading one cannot exhaust
// memory (128·N·r bytes) or time.
const (
	maxScryptMemory = 1 << 30  // bytes
	maxScryptWork   = 1 << 26  // N·r·p
	maxPBKDF2Rounds = 10 << 20 // geth's files have 262,144
	maxFileBytes    = 64 << 10 // one key file
)

const (
	fileVersion = 3
	blockSize   = 8  // scrypt's r
	derivedLen  = 32 // 16 bytes cipher key, 16 bytes MAC key
)

// Errors of a key file. Neither says anything about what is inside.
var (
	ErrPassword = errors.New("wrong password")
	ErrFormat   = errors.New("not a web3 secret storage v3 file")
)

// hexBytes is bytes as hex digits, with or without 0x.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	s := string(b)
	if len(s) > 1 && s[:2] == "0x" {
		s = s[2:]
	}
	*h, err = hex.DecodeString(s)
	return err
}

// file is the JSON of one key; field names are the format's.
type file struct {
	Address hexBytes `json:"address"`
	Crypto  sealed   `json:"crypto"`
	ID      string   `json:"id"`
	Version int      `json:"version"`
}

type sealed struct {
	Cipher       string   `json:"cipher"`
	CipherText   hexBytes `json:"ciphertext"`
	CipherParams struct {
		IV hexBytes `json:"iv"`
	} `json:"cipherparams"`
	KDF       string    `json:"kdf"`
	KDFParams kdfParams `json:"kdfparams"`
	MAC       hexBytes  `json:"mac"`
}

// kdfParams are those of scrypt (n, r, p) or of pbkdf2 (c, prf).
type kdfParams struct {
	DKLen int      `json:"dklen"`
	Salt  hexBytes `json:"salt"`
	N     int      `json:"n,omitempty"`
	R     int      `json:"r,omitempty"`
	P     int      `json:"p,omitempty"`
	C     int      `json:"c,omitempty"`
	PRF   string   `json:"prf,omitempty"`
}

// Encrypt seals key under password; what comes out opens in geth and in wallets.
func Encrypt(key *secp.Key, password string, cost Cost) ([]byte, error) {
	f := file{Version: fileVersion, ID: newID()}
	address := key.Address()
	f.Address = address[:]
	c := &f.Crypto
	c.Cipher, c.KDF = "aes-128-ctr", "scrypt"
	c.KDFParams = kdfParams{DKLen: derivedLen, Salt: random(32), N: cost.N, R: blockSize, P: cost.P}
	c.CipherParams.IV = random(aes.BlockSize)
	derived, err := c.derive(password)
	if err != nil {
		return nil, err
	}
	c.CipherText = c.crypt(derived, key.Bytes())
	c.MAC = c.mac(derived)
	return json.MarshalIndent(&f, "", "  ")
}

// Decrypt opens a version 3 file.
func Decrypt(b []byte, password string) (*secp.Key, error) {
	f, err := parse(b)
	if err != nil {
		return nil, err
	}
	c := &f.Crypto
	derived, err := c.derive(password)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(c.mac(derived), c.MAC) != 1 {
		return nil, ErrPassword
	}
	key, err := secp.NewKey(c.crypt(derived, c.CipherText))
	if err != nil {
		return nil, err
	}
	// The address is not under the MAC: a file that was swapped must not pass for
	// the account that its name promises.
	if a := key.Address(); len(f.Address) > 0 && string(f.Address) != string(a[:]) {
		return nil, fmt.Errorf("%w: says address 0x%x, holds the key of %s", ErrFormat, []byte(f.Address), a)
	}
	return key, nil
}

// AddressOf is the account that a file says it holds, without opening it.
func AddressOf(b []byte) (chain.Address, error) {
	f, err := parse(b)
	if err != nil {
		return chain.Address{}, err
	}
	if len(f.Address) == 0 {
		return chain.Address{}, fmt.Errorf("%w: no address", ErrFormat)
	}
	return chain.Address(f.Address), nil
}

func parse(b []byte) (*file, error) {
	f := &file{}
	if len(b) > maxFileBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrFormat, len(b), maxFileBytes)
	}
	if err := json.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	switch c := &f.Crypto; {
	case f.Version != fileVersion:
		return nil, fmt.Errorf("%w: version %d", ErrFormat, f.Version)
	case c.Cipher != "aes-128-ctr" || len(c.CipherParams.IV) != aes.BlockSize:
		return nil, fmt.Errorf("%w: cipher %q with an iv of %d bytes, want aes-128-ctr with %d", ErrFormat, c.Cipher, len(c.CipherParams.IV), aes.BlockSize)
	case c.KDFParams.DKLen < derivedLen || c.KDFParams.DKLen > 2*derivedLen:
		return nil, fmt.Errorf("%w: dklen %d, want %d to %d", ErrFormat, c.KDFParams.DKLen, derivedLen, 2*derivedLen)
	case len(f.Address) != 0 && len(f.Address) != len(chain.Address{}):
		return nil, fmt.Errorf("%w: address of %d bytes", ErrFormat, len(f.Address))
	}
	return f, nil
}

// derive stretches the password as the file says.
func (c *sealed) derive(password string) ([]byte, error) {
	p := &c.KDFParams
	switch c.KDF {
	case "scrypt":
		if p.N <= 1 || p.R <= 0 || p.P <= 0 || p.N > maxScryptMemory/128/p.R || p.N*p.R > maxScryptWork/p.P {
			return nil, fmt.Errorf("%w: scrypt with n %d, r %d, p %d is out of range", ErrFormat, p.N, p.R, p.P)
		}
		key, err := scrypt.Key([]byte(password), p.Salt, p.N, p.R, p.P, p.DKLen)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return key, nil
	case "pbkdf2":
		if p.PRF != "hmac-sha256" || p.C < 1 || p.C > maxPBKDF2Rounds {
			return nil, fmt.Errorf("%w: pbkdf2 with prf %q and %d rounds, want hmac-sha256 and 1 to %d", ErrFormat, p.PRF, p.C, maxPBKDF2Rounds)
		}
		return pbkdf2.Key(sha256.New, password, p.Salt, p.C, p.DKLen)
	}
	return nil, fmt.Errorf("%w: kdf %q, want scrypt or pbkdf2", ErrFormat, c.KDF)
}

func (c *sealed) mac(derived []byte) []byte {
	sum := secp.Keccak256(append(derived[16:32:32], c.CipherText...))
	return sum[:]
}

// crypt is its own inverse.
func (c *sealed) crypt(derived, in []byte) []byte {
	block, err := aes.NewCipher(derived[:16])
	if err != nil {
		panic(err) // 16 bytes are a key
	}
	out := make([]byte, len(in))
	cipher.NewCTR(block, c.CipherParams.IV).XORKeyStream(out, in)
	return out
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return b
}

// newID is a random UUID (RFC 9562, version 4).
func newID() string {
	b := random(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
