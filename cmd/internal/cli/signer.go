package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/keys"
	"github.com/kaizenchain/kaizen/host/secp"
)

// KeyVariable may hold a private key as hex. A variable can be read by other
// processes of the same user; a key file or keystore is better.
const KeyVariable = "KAIZEN_PRIVATE_KEY"

// PasswordFlag asks for a password from a file instead of the keyboard.
type PasswordFlag struct{ file string }

// AddPassword gives a verb its --password-file.
func AddPassword(flags *pflag.FlagSet) *PasswordFlag {
	p := &PasswordFlag{}
	flags.StringVar(&p.file, "password-file", "", "`file` whose first line is the password (mode 0600); without it, the terminal is asked")
	return p
}

// AddNewPassword gives a verb that changes a password its --new-password-file.
func AddNewPassword(flags *pflag.FlagSet) *PasswordFlag {
	p := &PasswordFlag{}
	flags.StringVar(&p.file, "new-password-file", "", "`file` whose first line is the new password (mode 0600); without it, the terminal is asked")
	return p
}

// Read gets an existing key's password.
func (p *PasswordFlag) Read(std IO, prompt string) (string, error) {
	if p.file != "" {
		return keys.ReadSecret(p.file)
	}
	return ask(std, prompt)
}

// ReadNew gets the password of a new key: twice, if a person types it.
func (p *PasswordFlag) ReadNew(std IO) (string, error) {
	if p.file != "" {
		return keys.ReadSecret(p.file)
	}
	first, err := ask(std, "new password: ")
	if err != nil {
		return "", err
	}
	again, err := ask(std, "once more: ")
	if err == nil && first != again {
		err = errors.New("the two passwords differ")
	}
	return first, err
}

// ask reads a line from the terminal without showing it. Ctrl-C and Ctrl-D end it;
// whatever ends it, the terminal shows again what is typed.
func ask(std IO, prompt string) (string, error) {
	f, isFile := std.In.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return "", Hint(errors.New("a password is needed and there is no terminal to ask for it"), "use --password-file FILE")
	}
	// Raw, so that Ctrl-C is a key: a signal would not end the read.
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	text, err := term.NewTerminal(keyboard{f, std.Err}, "").ReadPassword(prompt)
	err = errors.Join(err, term.Restore(int(f.Fd()), before))
	if errors.Is(err, io.EOF) {
		fmt.Fprintln(std.Err)
		return "", context.Canceled
	}
	return text, err
}

// keyboard is a terminal of which no more is read than was asked for: the next
// question wants the rest.
type keyboard struct {
	keys io.Reader
	io.Writer
}

func (k keyboard) Read(b []byte) (int, error) { return k.keys.Read(b[:min(len(b), 1)]) }

// KeysDir is the directory of keystore files inside a data directory.
func KeysDir(dataDir string) keys.Dir { return keys.Dir(filepath.Join(dataDir, "keys")) }

// SignerFlags chooses the key that signs: exactly one way.
type SignerFlags struct {
	flags    *pflag.FlagSet
	keyFile  string
	keystore string
	account  string
	keysDir  string
	dev      int
	password *PasswordFlag
}

// AddSigner gives a verb the flags that choose a key.
func AddSigner(flags *pflag.FlagSet) *SignerFlags {
	s := &SignerFlags{flags: flags}
	flags.StringVar(&s.keyFile, "key-file", "", "sign with the private key in this `file`: 64 hex digits, mode 0600")
	flags.StringVar(&s.keystore, "keystore", "", "sign with this web3 keystore `file` (version 3)")
	flags.StringVar(&s.account, "account", "", "sign with the key of this `address` from --keys")
	flags.StringVar(&s.keysDir, "keys", string(KeysDir(DefaultDataDir())), "`directory` of keystore files, as 'kaizen key' makes them")
	ShowHome(flags, "keys")
	flags.IntVar(&s.dev, "dev-account", 0, "sign with account 0 to 9 of the development mnemonic (its keys are public)")
	s.password = AddPassword(flags)
	return s
}

// Load returns the key.
func (s *SignerFlags) Load(std IO) (*secp.Key, error) {
	secret := os.Getenv(KeyVariable)
	given := s.given()
	switch {
	case len(given) > 1:
		return nil, Usagef("%s: choose one key, not %d", strings.Join(given, ", "), len(given))
	case len(given) == 0 && secret == "":
		return nil, Hint(Usagef("no key to sign with"), "use --key-file, --keystore, --account, the variable %s, or --dev-account on a development chain", KeyVariable)
	case len(given) == 0:
		key, err := secp.ParseKey(secret)
		if err != nil {
			return nil, &UsageError{Err: fmt.Errorf("environment variable %s: %w", KeyVariable, err)}
		}
		return key, nil
	case s.keyFile != "":
		return keys.ReadHexFile(s.keyFile)
	case s.keystore != "":
		return s.unlock(std, s.keystore)
	case s.account != "":
		return s.fromDir(std)
	}
	key, err := keys.DevKey(s.dev)
	if err != nil {
		return nil, &UsageError{Err: fmt.Errorf("--dev-account: %w", err)}
	}
	return key, nil
}

func (s *SignerFlags) given() (names []string) {
	for _, n := range []string{"key-file", "keystore", "account", "dev-account"} {
		if s.flags.Changed(n) {
			names = append(names, "--"+n)
		}
	}
	return names
}

func (s *SignerFlags) fromDir(std IO) (*secp.Key, error) {
	a, err := chain.ParseAddress(s.account)
	if err != nil {
		return nil, &UsageError{Err: fmt.Errorf("--account: %w", err)}
	}
	entry, err := keys.Dir(s.keysDir).Find(a)
	if err != nil {
		return nil, Hint(err, "'kaizen key list' shows the keys that are there")
	}
	return s.unlock(std, entry.Path)
}

func (s *SignerFlags) unlock(std IO, path string) (*secp.Key, error) {
	password, err := s.password.Read(std, fmt.Sprintf("password of %s: ", path))
	if err != nil {
		return nil, err
	}
	return keys.Load(path, password)
}
