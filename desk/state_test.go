package desk

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"tributary/ent/interaction"
)

var update = flag.Bool("update", false, "write the golden files anew")

// allStates in the order of a contact's life, so that the golden file reads like the model.
var allStates = []interaction.State{
	interaction.StateIN_FLOW, interaction.StateQUEUED, interaction.StateOFFERED, interaction.StateACTIVE,
	interaction.StatePAUSED, interaction.StateWRAP_UP, interaction.StateENDED,
}

func printed() string {
	var b strings.Builder
	b.WriteString("from | event | to | capacity of the agent\n")
	for _, from := range allStates {
		var rows []string
		for t, n := range states[from] {
			rows = append(rows, fmt.Sprintf("%s | %s | %s | %s\n", from, t, n.to, n.cap))
		}
		slices.Sort(rows)
		b.WriteString(strings.Join(rows, ""))
	}
	return b.String()
}

// The table is compared as a whole: a transition that comes or goes is a decision, not a side effect.
func TestStateTableIsTheGoldenOne(t *testing.T) {
	const path = "testdata/states.golden"
	got := printed()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the table of states changed; run with -update if it should:\n%s", got)
	}
}

// modelRows are the rows of the model that the kinds at hand can reach.
var modelRows = []struct {
	from interaction.State
	on   trigger
	to   interaction.State
	cap  capacity
}{
	{interaction.StateIN_FLOW, onHandOver, interaction.StateQUEUED, capNone},
	{interaction.StateQUEUED, onOffer, interaction.StateOFFERED, capReserve},
	{interaction.StateOFFERED, onAccept, interaction.StateACTIVE, capHold},
	{interaction.StateOFFERED, onDecline, interaction.StateQUEUED, capRelease},
	{interaction.StateOFFERED, onExpire, interaction.StateQUEUED, capRelease},
	{interaction.StateOFFERED, onAgentGone, interaction.StateQUEUED, capRelease},
	{interaction.StateQUEUED, onLeave, interaction.StateENDED, capNone},
	{interaction.StateOFFERED, onLeave, interaction.StateENDED, capRelease},
	{interaction.StateQUEUED, onWrite, interaction.StateQUEUED, capNone},
	{interaction.StateOFFERED, onWrite, interaction.StateOFFERED, capKeep},
	{interaction.StateQUEUED, onClaim, interaction.StateACTIVE, capHold},
	{interaction.StateOFFERED, onClaim, interaction.StateACTIVE, capHold},
	{interaction.StateQUEUED, onResolve, interaction.StateENDED, capNone},
	{interaction.StateOFFERED, onResolve, interaction.StateENDED, capRelease},
	{interaction.StateIN_FLOW, onResolve, interaction.StateENDED, capNone},
	{interaction.StatePAUSED, onResolve, interaction.StateENDED, capNone},
	{interaction.StateACTIVE, onResolve, interaction.StateENDED, capRelease},
	{interaction.StateACTIVE, onPause, interaction.StatePAUSED, capRelease},
	{interaction.StatePAUSED, onWrite, interaction.StateQUEUED, capNone},
	{interaction.StateACTIVE, onTransfer, interaction.StateQUEUED, capRelease},
	{interaction.StateACTIVE, onTransferTo, interaction.StateOFFERED, capMove},
	{interaction.StateENDED, onReopen, interaction.StatePAUSED, capNone},
	{interaction.StateACTIVE, onAgentLost, interaction.StateQUEUED, capRelease},
	{interaction.StateACTIVE, onEndWrapUp, interaction.StateWRAP_UP, capKeep},
	{interaction.StateACTIVE, onEnd, interaction.StateENDED, capRelease},
	{interaction.StateWRAP_UP, onWrapUpDone, interaction.StateENDED, capRelease},
	{interaction.StateOFFERED, onConnect, interaction.StateOFFERED, capKeep},
	{interaction.StateOFFERED, onUnanswered, interaction.StateQUEUED, capRelease},
	{interaction.StateIN_FLOW, onLeave, interaction.StateENDED, capNone},
	{interaction.StateIN_FLOW, onNodeLost, interaction.StateENDED, capNone},
	{interaction.StateQUEUED, onNodeLost, interaction.StateENDED, capNone},
	{interaction.StateOFFERED, onNodeLost, interaction.StateENDED, capRelease},
	{interaction.StateACTIVE, onNodeLost, interaction.StateENDED, capRelease},
	{interaction.StatePAUSED, onNodeLost, interaction.StateENDED, capNone},
	{interaction.StateWRAP_UP, onNodeLost, interaction.StateENDED, capRelease},
}

func TestEveryRowOfTheModelIsInTheTable(t *testing.T) {
	for _, r := range modelRows {
		n, err := next(r.from, r.on)
		if err != nil || n.to != r.to || n.cap != r.cap {
			t.Errorf("%s on %q: got %s, %s (%v), want %s, %s", r.from, r.on, n.to, n.cap, err, r.to, r.cap)
		}
	}
}

func TestOnlyAReopenedMatterLeadsOutOfENDED(t *testing.T) {
	if _, reopens := states[interaction.StateENDED][onReopen]; !reopens || len(states[interaction.StateENDED]) != 1 {
		t.Errorf("what is over stays over, unless its matter is reopened: %v", states[interaction.StateENDED])
	}
	for _, s := range allStates {
		if states[s] == nil {
			t.Errorf("the table does not know %s", s)
		}
		if err := interaction.StateValidator(s); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsNotInTheTableIsRefused(t *testing.T) {
	_, err := next(interaction.StateENDED, onAccept)
	if r, ok := RefusalOf(err); !ok || r.Code != WrongState {
		t.Errorf("got %v, want a refusal with WRONG_STATE", err)
	}
}
