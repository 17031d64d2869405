package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// Formats of a reading verb's output.
const (
	FormatTable = "table"
	FormatJSON  = "json"
)

// outputFlag is the name under which [wantsJSON] finds it.
const outputFlag = "output"

// Output is the value of -o.
type Output struct{ format string }

// AddOutput gives a reading verb its -o.
func AddOutput(c *cobra.Command) *Output {
	o := &Output{format: FormatTable}
	c.Flags().VarP(o, outputFlag, "o", "output `format`: table or json")
	err := c.RegisterFlagCompletionFunc(outputFlag, cobra.FixedCompletions([]string{FormatTable, FormatJSON}, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag was added two lines above
	}
	return o
}

// String, Set and Type implement pflag.Value.
func (o *Output) String() string { return o.format }
func (o *Output) Type() string   { return "format" }
func (o *Output) Set(s string) error {
	if s != FormatTable && s != FormatJSON {
		return fmt.Errorf("want table or json")
	}
	o.format = s
	return nil
}

// JSON says whether JSON was asked for.
func (o *Output) JSON() bool { return o.format == FormatJSON }

func wantsJSON(c *cobra.Command) bool {
	f := c.Flags().Lookup(outputFlag)
	return f != nil && f.Value.String() == FormatJSON
}

// Print writes v as JSON, or what table makes of it.
func (o *Output) Print(w io.Writer, v any, table func(*Table)) error {
	if o.JSON() {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	t := &Table{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	table(t)
	return t.w.Flush()
}

// Table collects rows and aligns their columns. A write error comes out of
// [Output.Print].
type Table struct{ w *tabwriter.Writer }

// Row adds one row.
func (t *Table) Row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = clean(fmt.Sprint(c))
	}
	fmt.Fprintln(t.w, strings.Join(texts, "\t"))
}

// Line adds text that is no row: a heading between tables.
func (t *Table) Line(format string, args ...any) {
	t.w.Flush()
	fmt.Fprintln(t.w, clean(fmt.Sprintf(format, args...)))
	t.w.Flush()
}

// clean keeps what came over a network from moving the cursor or breaking a row.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '\uFFFD'
		}
		return r
	}, s)
}
