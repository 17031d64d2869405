package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
)

// The unit and the compose file start the settler with flags that it has.
func TestDeployedFlags(t *testing.T) {
	unit, err := os.ReadFile("../../docs/deploy/systemd/kaizen-settler.service")
	if err != nil {
		t.Fatal(err)
	}
	compose, err := os.ReadFile("../../docs/deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct{ Command yaml.Node }
	}
	if err := yaml.Unmarshal(compose, &file); err != nil {
		t.Fatal(err)
	}
	var command []string
	settler := file.Services["settler"].Command
	if err := settler.Decode(&command); err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/settler (.*)$`).FindStringSubmatch(string(unit))
	if start == nil || len(command) == 0 {
		t.Fatal("the settler is not started")
	}
	for _, args := range [][]string{strings.Fields(start[1]), command} {
		c := newRoot(cli.IO{})
		if err := c.ParseFlags(args); err != nil || len(c.Flags().Args()) > 0 {
			t.Errorf("%q: %v", args, err)
		}
	}
}
