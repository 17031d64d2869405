package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/kaizenchain/kaizen/host/node"
)

// NewMan is the verb of a program that writes its manual pages; long names some of
// them, example shows how to use it.
func NewMan(program, long, example string) *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write a manual page for each verb into a directory",
		Long: "Write a manual page for each verb into a directory: " + long + ". They say what --help says.\n" +
			"The date in them is SOURCE_DATE_EPOCH (seconds), if that is set.",
		Example: example,
		Args:    Args("DIR"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("directory of the pages: %w", err)
			}
			root := c.Root()
			root.DisableAutoGenTag = true // the same pages from the same program
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: program + " " + node.Version, Manual: "Kaizen"}, args[0])
		},
	}
}
