package keys

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/accounts/keystore"
	ethcrypto "github.com/ethereum/go-ethereum/crypto"

	"github.com/kaizenchain/kaizen/host/secp"
)

// The accounts that every Ethereum development tool prints for the mnemonic.
var wellKnown = []string{
	"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
	"0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
	"0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
	"0x90f79bf6eb2c4f870365e785982e1f101e93b906",
	"0x15d34aaf54267db7d7c367839aaf71a00a2c6a65",
	"0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
	"0x976ea74026e726554db657fa54763abd0c3a0aa9",
	"0x14dc79964da2c08b23698b3d3cc7ca32193d9955",
	"0x23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
	"0xa0ee7a142d267c1f36714e4a8f75612f20a79720",
}

func TestDevKeys(t *testing.T) {
	for i, want := range wellKnown {
		key, err := DevKey(i)
		if err != nil {
			t.Fatal(err)
		}
		if got := key.Address().String(); got != want {
			t.Errorf("account %d is %s, want %s", i, got, want)
		}
	}
	first, _ := DevKey(0)
	if got := hex.EncodeToString(first.Bytes()); got != "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80" {
		t.Errorf("key 0 is %s", got)
	}
	for _, i := range []int{-1, DevAccounts} {
		if _, err := DevKey(i); err == nil {
			t.Errorf("account %d was derived", i)
		}
	}
}

// BIP-32, test vectors 1 and 3 (a leading zero in the parent's key).
func TestDerive(t *testing.T) {
	for _, c := range []struct {
		seed, want string
		path       []uint32
	}{
		{"000102030405060708090a0b0c0d0e0f", "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35", nil},
		{"000102030405060708090a0b0c0d0e0f", "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea", []uint32{hardened}},
		{"000102030405060708090a0b0c0d0e0f", "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8",
			[]uint32{hardened, 1, hardened + 2, 2, 1000000000}},
		{"4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4acba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be",
			"491f7a2eebc7b57028e0d3faa0acda02e75c33b03c48fb288c41e2ea44e1daef", []uint32{hardened}},
	} {
		seed, _ := hex.DecodeString(c.seed)
		key, err := Derive(seed, c.path...)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(key.Bytes()); got != c.want {
			t.Errorf("%v: %s, want %s", c.path, got, c.want)
		}
	}
}

// BIP-39's own vector with a passphrase.
func TestSeed(t *testing.T) {
	got, err := Seed(strings.Repeat("abandon ", 11)+"about", "TREZOR")
	if err != nil {
		t.Fatal(err)
	}
	const want = "c55257c360c07c72029aebc1b53c05ed0362ada38ead3e3e9efa3708e53495531f09a6987599d18264c1e1c92f2cf141630c7a3c4ab7c81b2f001698e7463b04"
	if hex.EncodeToString(got) != want {
		t.Errorf("seed is %x", got)
	}
}

func newKey(t *testing.T) *secp.Key {
	t.Helper()
	key, err := secp.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestGethOpensOurs(t *testing.T) {
	key := newKey(t)
	b, err := Encrypt(key, "pässword", Light)
	if err != nil {
		t.Fatal(err)
	}
	got, err := keystore.DecryptKey(b, "pässword")
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(ethcrypto.FromECDSA(got.PrivateKey)) != hex.EncodeToString(key.Bytes()) {
		t.Error("geth opened another key")
	}
}

func TestWeOpenGeths(t *testing.T) {
	account, err := keystore.StoreKey(t.TempDir(), "secret", keystore.LightScryptN, keystore.LightScryptP)
	if err != nil {
		t.Fatal(err)
	}
	key, err := Load(account.URL.Path, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if [20]byte(key.Address()) != [20]byte(account.Address) {
		t.Errorf("address %s, want %s", key.Address(), account.Address)
	}
	if _, err := Load(account.URL.Path, "Secret"); !errors.Is(err, ErrPassword) {
		t.Errorf("a wrong password gave %v", err)
	}
}

// The examples of the Web3 Secret Storage Definition, one for each kdf.
func TestSpecificationVectors(t *testing.T) {
	for _, b := range []string{
		`{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`,
		`{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":262144,"r":1,"p":8,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}`,
	} {
		key, err := Decrypt([]byte(b), "testpassword")
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(key.Bytes()); got != "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d" {
			t.Errorf("key is %s", got)
		}
	}
}

func TestDecryptRefuses(t *testing.T) {
	key := newKey(t)
	good, err := Encrypt(key, "x", Light)
	if err != nil {
		t.Fatal(err)
	}
	other := newKey(t).Address()
	for name, c := range map[string]struct {
		from, to string
		want     error
	}{
		"version":        {`"version": 3`, `"version": 4`, ErrFormat},
		"cipher":         {"aes-128-ctr", "aes-256-ctr", ErrFormat},
		"kdf":            {`"scrypt"`, `"argon2"`, ErrFormat},
		"memory bomb":    {`"n": 4096`, `"n": 1073741824`, ErrFormat},
		"work bomb":      {`"p": 6`, `"p": 1000000`, ErrFormat},
		"negative":       {`"r": 8`, `"r": -8`, ErrFormat},
		"not a power":    {`"n": 4096`, `"n": 4095`, ErrFormat},
		"dklen":          {`"dklen": 32`, `"dklen": 16`, ErrFormat},
		"other work":     {`"n": 4096`, `"n": 8192`, ErrPassword},
		"swapped":        {strings.TrimPrefix(key.Address().String(), "0x"), hex.EncodeToString(other[:]), ErrFormat},
		"cut":            {`"version"`, "", ErrFormat},
		"address length": {`"address": "`, `"address": "00`, ErrFormat},
	} {
		bad := strings.Replace(string(good), c.from, c.to, 1)
		if bad == string(good) {
			t.Fatalf("%s: nothing to replace in\n%s", name, good)
		}
		if _, err := Decrypt([]byte(bad), "x"); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	f.Add([]byte(`{"version":3}`))
	f.Add([]byte(`{"version":3,"address":"00","crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"00000000000000000000000000000000"},"kdf":"pbkdf2","kdfparams":{"c":1,"dklen":32,"prf":"hmac-sha256"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := AddressOf(b); err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("unnamed error %v", err)
		}
	})
}

func TestDir(t *testing.T) {
	dir := Dir(filepath.Join(t.TempDir(), "keys"))
	if got, err := dir.List(); err != nil || got != nil {
		t.Fatalf("missing directory: %v, %v", got, err)
	}
	key := newKey(t)
	entry, err := dir.Store(key, "p", Light)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Store(key, "p", Light); !errors.Is(err, ErrExists) {
		t.Errorf("stored twice: %v", err)
	}
	if err := os.WriteFile(filepath.Join(string(dir), "README"), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := dir.Find(key.Address())
	if err != nil || found != entry {
		t.Errorf("found %v, %v, want %v", found, err, entry)
	}
	loaded, err := Load(entry.Path, "p")
	if err != nil || loaded.Address() != key.Address() {
		t.Errorf("loaded %v", err)
	}
	if _, err := dir.Find(newKey(t).Address()); !errors.Is(err, ErrNoKey) {
		t.Errorf("found a stranger: %v", err)
	}
}

func TestHexFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	key := newKey(t)
	if err := WriteHexFile(path, key); err != nil {
		t.Fatal(err)
	}
	if err := WriteHexFile(path, key); !errors.Is(err, ErrExists) {
		t.Errorf("overwrote: %v", err)
	}
	got, err := ReadHexFile(path)
	if err != nil || got.Address() != key.Address() {
		t.Fatalf("read %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHexFile(path); !errors.Is(err, ErrPermissions) {
		t.Errorf("a readable key file gave %v", err)
	}
	if _, err := ReadHexFile(t.TempDir()); err == nil {
		t.Error("read a directory")
	}
}

// A broken key file must not show in an error what it holds.
func TestErrorsHideSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("deadbeef-not-quite-a-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadHexFile(path)
	if err == nil || strings.Contains(err.Error(), "deadbeef") {
		t.Errorf("error is %v", err)
	}
}

// A changed password opens the same file, also in geth; the old one does not, and
// a failed change changes nothing.
func TestChangePassword(t *testing.T) {
	dir := Dir(t.TempDir())
	key := newKey(t)
	e, err := dir.Store(key, "old", Light)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.ChangePassword(e.Address, "wrong", "new", Light); !errors.Is(err, ErrPassword) {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := Load(e.Path, "old"); err != nil {
		t.Errorf("a failed change: %v", err)
	}
	changed, err := dir.ChangePassword(e.Address, "old", "new", Light)
	if err != nil || changed != e {
		t.Fatalf("%+v %v", changed, err)
	}
	if _, err := Load(e.Path, "old"); !errors.Is(err, ErrPassword) {
		t.Errorf("the old password: %v", err)
	}
	b, err := os.ReadFile(e.Path)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := keystore.DecryptKey(b, "new")
	if err != nil || hex.EncodeToString(ethcrypto.FromECDSA(theirs.PrivateKey)) != hex.EncodeToString(key.Bytes()) {
		t.Errorf("geth: %v", err)
	}
	if info, err := os.Stat(e.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if names, err := os.ReadDir(string(dir)); err != nil || len(names) != 1 {
		t.Errorf("%v %v", names, err)
	}
	if _, err := dir.ChangePassword(newKey(t).Address(), "old", "new", Light); !errors.Is(err, ErrNoKey) {
		t.Error(err)
	}
}

// Messages are signed as geth and wallets sign them.
func TestMessages(t *testing.T) {
	key := newKey(t)
	for _, text := range []string{"", "hello", strings.Repeat("ä", 1000)} {
		sig, err := SignMessage(key, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if who, ok := MessageSigner([]byte(text), &sig); !ok || who != key.Address() {
			t.Errorf("%.10q: signed by %s", text, who)
		}
		if who, ok := MessageSigner([]byte(text+"\n"), &sig); ok && who == key.Address() {
			t.Errorf("%.10q: another text passes", text)
		}
		theirs := sig
		theirs[64] -= 27 // what go-ethereum's own recovery takes
		public, err := ethcrypto.SigToPub(accounts.TextHash([]byte(text)), theirs[:])
		if err != nil || [20]byte(ethcrypto.PubkeyToAddress(*public)) != [20]byte(key.Address()) {
			t.Errorf("%.10q: geth: %v", text, err)
		}
	}
	if _, ok := MessageSigner([]byte("hello"), &[65]byte{}); ok {
		t.Error("zeros are a signature")
	}
}
