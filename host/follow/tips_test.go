package follow_test

import (
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
)

func TestMemoryTips(t *testing.T) {
	followtest.TestTipsStore(t, func(_ *testing.T, genesis chain.Hash) followtest.Opener {
		s := follow.NewMemoryTips(genesis)
		return func() follow.TipsStore { return s }
	})
}
