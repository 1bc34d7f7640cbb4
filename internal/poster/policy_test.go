package poster

import (
	"testing"

	"github.com/filecoin-project/go-state-types/big"

	"wdpost/internal/deadline"
	"wdpost/internal/message"
	"wdpost/internal/message/escalate"
)

// TestTheDaysBudgetIsSharedByMessagesRaisedTogether: all messages of a window are
// decided about in one step. Each was allowed what was left of the day, since none
// had been raised yet.
func TestTheDaysBudgetIsSharedByMessagesRaisedTogether(t *testing.T) {
	m := &miner{conf: MinerConfig{Escalation: escalate.Limits{MaxFeePerDay: big.NewInt(1e17)}}}
	stuck := func(id string) deadline.Step {
		return m.policy(deadline.Plight{
			Seen: message.Outcome{State: message.Pending, Signed: true, Handle: message.Handle{ID: id}, Price: message.Price{
				FeeCap: big.NewInt(1e9), Premium: big.NewInt(1e5), GasLimit: 1e7,
			}},
			SentAt: 100, Now: 110, Expire: 150, BaseFee: big.NewInt(2e9),
		})
	}
	if s := stuck("a"); s.Do != deadline.Raise {
		t.Fatalf("%+v", s)
	}
	if s := stuck("b"); s.Do == deadline.Raise {
		t.Errorf("the day's budget is spent, and b is raised to %s", s.Price)
	}
	m.purse.budget.Undo("a") // the service refused it
	if s := stuck("b"); s.Do != deadline.Raise {
		t.Errorf("%+v", s)
	}
}
