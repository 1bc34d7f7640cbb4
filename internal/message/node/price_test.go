package node_test

import (
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/endpoint"
	"wdpost/internal/message"
	"wdpost/internal/message/messagetest"
	"wdpost/internal/message/node"
)

// What a node is asked to send carries the price that the config sets. The
// world estimates 1000 gas and a premium of 200, and fills in a cap of 400.
func TestPrice(t *testing.T) {
	nano := func(n int64) big.Int { return big.Mul(big.NewInt(n), big.NewInt(1e9)) }
	for name, c := range map[string]struct {
		fees             message.Fees
		limit            int64
		feeCap, premium  string
		estimatesMissing bool
	}{
		"nothing set":             {message.Fees{}, 1000, "400", "200", false},
		"the guide's":             {message.Fees{GasOverEstimation: 1.2, GasFeeCap: nano(5)}, 1200, "5000000000", "200", false},
		"premium multiplied":      {message.Fees{GasOverPremium: 1.5}, 1000, "400", "300", false},
		"cap below the premium":   {message.Fees{GasFeeCap: big.NewInt(150)}, 1000, "150", "150", false},
		"MaxFeeCap as substitute": {message.Fees{MaxFeeCap: nano(2)}, 1000, "2000000000", "200", false},
		"GasFeeCap goes first":    {message.Fees{GasFeeCap: nano(5), MaxFeeCap: nano(2)}, 1000, "5000000000", "200", false},
		"estimates not known":     {message.Fees{GasOverEstimation: 1.2, GasOverPremium: 2}, 1000, "400", "200", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := messagetest.NewWorld()
			if c.estimatesMissing {
				w.Fault(func(method string) (bool, error) {
					if method == "estimate" {
						return false, &endpoint.CallError{Kind: endpoint.ErrNoMethod}
					}
					return true, nil
				})
			}
			s := node.New(node.Config{API: w.Node(true)})
			if _, err := s.Push(t.Context(), "a", messagetest.Post(1), message.Spec{Fees: c.fees}); err != nil {
				t.Fatal(err)
			}
			if feeCap, premium, limit := w.Price(0); limit != c.limit || feeCap.String() != c.feeCap || premium.String() != c.premium {
				t.Errorf("limit %d, cap %s, premium %s; want %d, %s, %s", limit, feeCap, premium, c.limit, c.feeCap, c.premium)
			}
		})
	}
}
