package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/kaizenchain/kaizen/host/node"
)

// ConfigName is the config file that a data directory may hold.
const ConfigName = "config.toml"

// maxConfigBytes bounds a config file.
const maxConfigBytes = 1 << 20

// Config is the configuration as loaded: the typed values, and for each where it
// came from.
type Config struct {
	node.Config
	File    string // empty: none was read
	Values  []Value
	Unknown []string // KAIZEN_ variables that look like settings and are none
}

// Value is one effective setting.
type Value struct {
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Origin  string `json:"origin"` // default, file NAME:LINE, environment NAME, flag --NAME
	Accepts string `json:"accepts"`
}

// Lookup finds a setting, and says whether anybody set it.
func (c *Config) Lookup(key string) (v Value, set bool) {
	i := slices.IndexFunc(c.Values, func(v Value) bool { return v.Key == key })
	if i < 0 {
		return Value{}, false
	}
	return c.Values[i], c.Values[i].Origin != originDefault
}

const originDefault = "default"

// ConfigFlags is the part of a command line that sets settings.
type ConfigFlags struct {
	flags *pflag.FlagSet
	file  string
	keys  []string // with a flag on this command
}

// AddConfig gives a verb --config and a flag for each setting of keys; nil means
// all of them.
func AddConfig(flags *pflag.FlagSet, role Role, keys ...string) *ConfigFlags {
	c := &ConfigFlags{flags: flags}
	flags.StringVar(&c.file, "config", "", "config `file` (default: config.toml of the data directory, if there is one)")
	defaults := defaultsByKey(role)
	for _, s := range Settings() {
		if len(keys) > 0 && !slices.Contains(keys, s.Key) {
			continue
		}
		c.keys = append(c.keys, s.Key)
		flags.Var(&settingFlag{setting: s}, s.FlagName(), flagUsage(&s, defaults[s.Key]))
		if s.Alone {
			flags.Lookup(s.FlagName()).NoOptDefVal = "true"
		}
	}
	return c
}

func flagUsage(s *Setting, value any) string {
	if v := tilde(fmt.Sprint(value)); v != "" && v != "[]" {
		return fmt.Sprintf("%s (%s; default %s)", s.Doc, s.Accepts, v)
	}
	return fmt.Sprintf("%s (%s)", s.Doc, s.Accepts)
}

// tilde is a path as help texts and manual pages have it: not of whoever made them.
func tilde(path string) string {
	if rest, ok := strings.CutPrefix(path, filepath.Dir(DefaultDataDir())); ok && strings.HasPrefix(rest, string(filepath.Separator)) {
		return "~" + rest
	}
	return path
}

// ShowHome writes a flag's default in help texts with ~ for the home directory.
func ShowHome(flags *pflag.FlagSet, name string) {
	f := flags.Lookup(name)
	f.DefValue = tilde(f.DefValue)
}

// settingFlag is a flag that knows what its setting accepts.
type settingFlag struct {
	setting Setting
	text    string
}

func (f *settingFlag) String() string { return f.text }
func (f *settingFlag) Type() string   { return "value" }
func (f *settingFlag) Set(s string) error {
	if _, err := f.setting.parse(s); err != nil {
		return fmt.Errorf("want %s", f.setting.Accepts)
	}
	if f.setting.Repeats && f.text != "" {
		s = f.text + "," + s
	}
	f.text = s
	return nil
}

// Load reads flags, environment and file, in this order of precedence, into one
// configuration. Every mistake in them is named, not only the first.
func (c *ConfigFlags) Load(role Role) (*Config, error) {
	v, err := c.newViper(role)
	if err != nil {
		return nil, err
	}
	l := &loader{viper: v, flags: c.flags, out: &Config{}}
	if err := l.readFile(c.file); err != nil {
		return nil, err
	}
	l.findUnknown()
	for _, s := range Settings() {
		l.take(&s, slices.Contains(c.keys, s.Key))
	}
	if len(l.errs) > 0 {
		return nil, &UsageError{Err: errors.Join(l.errs...)}
	}
	if err := v.UnmarshalExact(&l.out.Config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := l.out.Check(); err != nil {
		return nil, &UsageError{Err: err}
	}
	l.out.Unknown = unknownVariables(os.Environ())
	return l.out, nil
}

// newViper binds defaults, variables and flags of every setting.
func (c *ConfigFlags) newViper(role Role) (*viper.Viper, error) {
	v := viper.New()
	v.SetConfigType("toml")
	for key, value := range defaultsByKey(role) {
		v.SetDefault(key, value)
	}
	for _, s := range Settings() {
		if err := v.BindEnv(s.Key, s.EnvName()); err != nil {
			return nil, err
		}
		if !slices.Contains(c.keys, s.Key) {
			continue
		}
		if err := v.BindPFlag(s.Key, c.flags.Lookup(s.FlagName())); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// defaultsByKey flattens a node's defaults.
func defaultsByKey(role Role) map[string]any {
	cfg := Defaults(role)
	cfg.DataDir = DefaultDataDir()
	m := map[string]any{}
	walk("", reflect.ValueOf(cfg), func(key string, v reflect.Value) { m[key] = v.Interface() })
	return m
}

// DefaultValues are all settings before anybody has set any.
func DefaultValues(role Role) []Value {
	defaults := defaultsByKey(role)
	var all []Value
	for _, s := range Settings() {
		all = append(all, Value{Key: s.Key, Value: defaults[s.Key], Origin: originDefault, Accepts: s.Accepts})
	}
	return all
}

// walk calls f for every leaf of a config struct, by its mapstructure name.
func walk(prefix string, v reflect.Value, f func(key string, v reflect.Value)) {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("mapstructure")
		if v.Field(i).Kind() == reflect.Struct {
			walk(key+".", v.Field(i), f)
		} else {
			f(key, v.Field(i))
		}
	}
}

// DefaultDataDir is ~/.kaizen, or .kaizen where there is no home.
func DefaultDataDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, ".kaizen")
}

// loader gathers one configuration and every mistake in it.
type loader struct {
	viper *viper.Viper
	flags *pflag.FlagSet
	out   *Config
	lines map[string]int // of the file's keys
	errs  []error
}

// readFile reads the file that was named, or else the data directory's own.
func (l *loader) readFile(name string) error {
	named := name != ""
	if !named {
		name = filepath.Join(l.viper.GetString("data_dir"), ConfigName)
	}
	b, err := readConfigFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil
	case errors.Is(err, syscall.ENOTDIR) && !named:
		return Hint(Usagef("data directory %s is a file", filepath.Dir(name)), "--data-dir names a directory, which need not be there yet")
	case errors.Is(err, fs.ErrNotExist):
		return Hint(Usagef("config file %s does not exist", name), "'kaizen config init %s' writes one with comments", name)
	case err != nil:
		return err
	}
	if err := l.viper.ReadConfig(bytes.NewReader(b)); err != nil {
		return Usagef("%s%s: %w", name, position(err), err)
	}
	l.out.File = name
	l.lines = keyLines(string(b))
	return nil
}

func readConfigFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfigBytes {
		return nil, Usagef("config file %s: want a regular file of at most %d bytes", name, maxConfigBytes)
	}
	return os.ReadFile(name)
}

// position is ":line" of a TOML syntax error.
func position(err error) string {
	var at interface{ Position() (line, column int) }
	if errors.As(err, &at) {
		line, column := at.Position()
		return fmt.Sprintf(":%d:%d", line, column)
	}
	return ""
}

// keyLines finds the line of each key of a TOML file that says it in the usual
// way; a key inside an inline table has none, and its error then lacks the line.
func keyLines(s string) map[string]int {
	lines, section, n := map[string]int{}, "", 0
	for line := range strings.Lines(s) {
		n++
		line = strings.TrimSpace(line)
		if head, found := strings.CutPrefix(line, "["); found {
			name, _, _ := strings.Cut(head, "]")
			section = bare(name) + "."
			lines[strings.TrimSuffix(section, ".")] = n
		} else if key, _, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			lines[section+bare(key)] = n
		}
	}
	return lines
}

func bare(key string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\"'", r) {
			return -1
		}
		return r
	}, key))
}

func (l *loader) at(key string) string {
	if n := l.lines[key]; n > 0 {
		return fmt.Sprintf("%s:%d", l.out.File, n)
	}
	return l.out.File
}

// findUnknown complains about keys of the file that are no settings.
func (l *loader) findUnknown() {
	known := settingKeys()
	for _, key := range l.viper.AllKeys() {
		if slices.Contains(known, key) {
			continue
		}
		err := fmt.Errorf("%s: unknown key %s", l.at(key), key)
		if near := nearest(key, known); near != "" {
			err = fmt.Errorf("%w; did you mean %s?", err, near)
		} else if in := sectionKeys(known, key); in != "" {
			err = fmt.Errorf("%w; known are %s", err, in)
		}
		l.errs = append(l.errs, err)
	}
	slices.SortFunc(l.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
}

func settingKeys() []string {
	var keys []string
	for _, s := range Settings() {
		keys = append(keys, s.Key)
	}
	return keys
}

// sectionKeys lists what the section of key has, or the sections if it has none.
func sectionKeys(known []string, key string) string {
	section, _, _ := strings.Cut(key, ".")
	var in []string
	for _, k := range known {
		if rest, found := strings.CutPrefix(k, section+"."); found {
			in = append(in, rest)
		}
	}
	if len(in) == 0 {
		for _, d := range SectionDocs {
			in = append(in, "["+d[0]+"]")
		}
	}
	return strings.Join(in, ", ")
}

// take reads one setting, notes its origin and puts the checked value back.
func (l *loader) take(s *Setting, hasFlag bool) {
	raw := l.viper.Get(s.Key)
	origin, where := l.origin(s, hasFlag)
	value, err := s.parse(raw)
	if err != nil && origin != originDefault {
		l.errs = append(l.errs, fmt.Errorf("%s: %s is %#v, want %s", where, s.Key, raw, s.Accepts))
		return
	}
	if origin == originDefault {
		value = raw
	}
	if path, isText := value.(string); s.Path && isText && path != "" && strings.HasPrefix(origin, "file ") && !filepath.IsAbs(path) {
		value = filepath.Join(filepath.Dir(l.out.File), path)
	}
	l.viper.Set(s.Key, value)
	l.out.Values = append(l.out.Values, Value{Key: s.Key, Value: value, Origin: origin, Accepts: s.Accepts})
}

// origin says where the value in force comes from: as [Value] has it, and as an
// error names it.
func (l *loader) origin(s *Setting, hasFlag bool) (origin, where string) {
	if hasFlag && l.flags.Changed(s.FlagName()) {
		return "flag --" + s.FlagName(), "--" + s.FlagName()
	}
	if os.Getenv(s.EnvName()) != "" {
		return "environment " + s.EnvName(), "environment variable " + s.EnvName()
	}
	if l.viper.InConfig(s.Key) {
		return "file " + l.at(s.Key), l.at(s.Key)
	}
	return originDefault, ""
}

// unknownVariables finds variables that begin like a section's settings and are
// none: most likely a slip of the pen. They are not an error, because orchestrators
// set variables named after services (KAIZEN_RPC_PORT).
func unknownVariables(environ []string) (unknown []string) {
	known := map[string]bool{}
	for _, s := range Settings() {
		known[s.EnvName()] = true
	}
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		for _, d := range SectionDocs {
			if strings.HasPrefix(name, "KAIZEN_"+strings.ToUpper(d[0])+"_") && !known[name] {
				unknown = append(unknown, name)
			}
		}
	}
	return unknown
}

// nearest is the candidate that few keystrokes separate from word, or nothing.
func nearest(word string, candidates []string) string {
	best, least := "", 4
	for _, c := range candidates {
		if d := distance(word, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
