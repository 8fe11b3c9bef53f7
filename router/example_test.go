package router_test

import (
	"fmt"

	"tributary/router"
)

// Two conversations wait and one agent has room for one: the one of high priority has aged more.
func ExampleCore_Decide() {
	core := router.New(router.Config{})
	core.Load(router.Snapshot{
		Items:  []router.Item{item(1, 0), item(2, 30, priority(router.PriorityHigh))},
		Agents: []router.Agent{agent(11, 0)},
	})
	for _, d := range core.Decide(at(60), 10) {
		fmt.Println("item", num(d.Item), "to agent", num(d.Agent), d.Reasons)
		core.Settle(router.Outcome{Item: d.Item, Result: router.Committed, LoadVersion: 2})
	}
	fmt.Println(core.Waiting(), "waits")
	// Output:
	// item 2 to agent 11 [only_candidate]
	// 1 waits
}
