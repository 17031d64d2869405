package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/wire"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// versions is what `version` prints: the program, what built it, and every
// format and interface it speaks.
type versions struct {
	Kaizen   string `json:"kaizen"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	API      int    `json:"api"`
	ABI      int    `json:"abi"`
	Block    int    `json:"block"`
	Genesis  int    `json:"genesis"`
	Sync     int    `json:"sync"`
}

func newVersion(cli.IO) *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print versions of the program and of what it speaks", Args: cli.Args()}
	out := cli.AddOutput(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := readVersions()
		return out.Print(c.OutOrStdout(), v, func(t *cli.Table) {
			t.Row("kaizen", v.Kaizen)
			if v.Revision != "" {
				t.Row("revision", v.Revision)
			}
			t.Row("go", v.Go)
			t.Row("platform", v.Platform)
			t.Row("RPC interface", v.API)
			t.Row("module contract", v.ABI)
			t.Row("block format", v.Block)
			t.Row("genesis format", v.Genesis)
			t.Row("sync protocol", v.Sync)
		})
	}
	return c
}

func readVersions() versions {
	v := versions{Kaizen: node.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		API: api.Version, ABI: abi.Version, Block: int(chain.BlockVersion), Genesis: int(chain.GenesisVersion), Sync: int(wire.ProtocolVersion)}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Revision = s.Value + v.Revision
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Revision += " (modified)"
		}
	}
	return v
}
