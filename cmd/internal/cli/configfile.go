package cli

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
)

// WriteConfigFile renders cfg as a config file with a comment for every key.
// Values that equal the role's defaults are commented out, so that the file says
// what was decided here and a better default can still arrive.
func WriteConfigFile(cfg *node.Config, role Role) string {
	values := map[string]any{}
	walk("", reflect.ValueOf(*cfg), func(key string, v reflect.Value) { values[key] = v.Interface() })
	defaults := defaultsByKey(role)
	var b strings.Builder
	b.WriteString("# Configuration of a Kaizen node. Every key may also be set by the environment\n" +
		"# variable KAIZEN_SECTION_KEY and by a flag, which win in this order. A line that\n" +
		"# is commented out shows the default. Relative paths are relative to this file.\n\n")
	section := ""
	for _, s := range Settings() {
		if name, _, found := strings.Cut(s.Key, "."); found && name != section {
			section = name
			fmt.Fprintf(&b, "\n# %s\n[%s]\n", sectionDoc(name), name)
		}
		mark := ""
		if reflect.DeepEqual(values[s.Key], defaults[s.Key]) {
			mark = "# "
		}
		name := s.Key[strings.LastIndexByte(s.Key, '.')+1:]
		fmt.Fprintf(&b, "# %s (%s)\n%s%s = %s\n", s.Doc, s.Accepts, mark, name, tomlValue(values[s.Key]))
	}
	return b.String()
}

func sectionDoc(name string) string {
	for _, d := range SectionDocs {
		if d[0] == name {
			return d[1]
		}
	}
	return ""
}

func tomlValue(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case chain.Address:
		return quote(v.String())
	case []string:
		items := make([]string, len(v))
		for i, s := range v {
			items[i] = quote(s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// quote writes a TOML basic string; the escapes of JSON are among TOML's.
func quote(s string) string {
	b, _ := json.Marshal(s) // text always encodes
	return string(b)
}
