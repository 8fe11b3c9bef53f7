package telephony

import (
	"time"

	"tributary/channels/voice"
)

// flowRun is where a caller is in his flow.
type flowRun struct {
	flow  *voice.Flow
	key   string
	node  voice.Node
	tries int
	timer *time.Timer
	steps int
}

// maxSteps ends a caller's walk in a flow that leads in circles.
const maxSteps = 500

// startFlow begins the flow, or queues at once where there is none.
func (c *call) startFlow(f *voice.Flow) {
	if f == nil {
		c.queue("")
		return
	}
	c.flow = &flowRun{flow: f}
	c.flow.enter(c, f.Start)
}

// stopFlow ends it wherever it is.
func (c *call) stopFlow() {
	if c.flow == nil {
		return
	}
	c.flow.disarm()
	c.flow = nil
	if c.customer != nil {
		c.customer.hush()
	}
}

// queue hands the caller over: from now on he waits.
func (c *call) queue(id voice.ID) {
	c.stopFlow()
	c.mix() // the music begins before the desk has answered
	if c.queued {
		return
	}
	c.queued = true
	c.tell(voice.Fact{Kind: voice.Queued, Queue: id}, func(a voice.Answer, err error) {
		if isFinal(err) && !c.over {
			c.log.Warn("the desk takes the caller not", "error", err)
			c.finish(voice.Failed, 0)
			return
		}
		c.mix()
	})
}

func (r *flowRun) disarm() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *flowRun) enter(c *call, key string) {
	r.disarm()
	r.steps++
	n, ok := r.flow.Nodes[key]
	if !ok || r.steps > maxSteps { // a checked flow has neither
		c.log.Error("the flow leads nowhere", "node", key, "flow", r.flow.ID)
		c.queue("")
		return
	}
	r.key, r.node, r.tries = key, n, 0
	switch n.Kind {
	case voice.NodeQueue:
		c.tell(voice.Fact{Kind: voice.Stepped, Step: key}, nil)
		c.queue(n.Queue)
	case voice.NodeMenu:
		r.askMenu(c)
	case voice.NodeHangUp:
		r.say(c, func() { c.finish(voice.Abandoned, 0) })
	default:
		r.say(c, func() { r.leave(c, voice.ExitDone, "") })
	}
}

// say plays the node's sound, then goes on; a node without one goes on at once.
func (r *flowRun) say(c *call, then func()) {
	if r.node.Sound == nil {
		then()
		return
	}
	c.customer.play(c, *r.node.Sound, false, func() {
		if c.flow == r {
			then()
		}
	})
}

func (r *flowRun) askMenu(c *call) {
	r.tries++
	r.say(c, func() { r.arm(c) })
}

// arm waits for a key.
func (r *flowRun) arm(c *call) {
	var t *time.Timer
	t = time.AfterFunc(r.node.Timeout(), func() {
		c.post(func() {
			if c.flow == r && r.timer == t {
				r.again(c, voice.ExitTimeout, "")
			}
		})
	})
	r.timer = t
}

// again asks once more, or leaves by the exit.
func (r *flowRun) again(c *call, exit, input string) {
	if r.tries < r.node.MaxTries() {
		r.disarm()
		r.askMenu(c)
		return
	}
	r.leave(c, exit, input)
}

// pressed takes a key, also while the sound still plays.
func (r *flowRun) pressed(c *call, d byte) {
	if r.node.Kind != voice.NodeMenu {
		return
	}
	r.disarm()
	c.customer.hush()
	if _, ok := r.node.Exits[string(d)]; ok {
		r.leave(c, string(d), string(d))
		return
	}
	r.again(c, voice.ExitInvalid, string(d))
}

func (r *flowRun) leave(c *call, exit, input string) {
	c.tell(voice.Fact{Kind: voice.Stepped, Step: r.key, Exit: exit, Input: input}, nil)
	r.enter(c, r.node.Exits[exit])
}
