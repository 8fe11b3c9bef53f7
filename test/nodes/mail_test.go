package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

const (
	help     = "help@local.test"
	sales    = "sales@local.test"
	customer = "may@example.com"
)

// post is an installation with mailboxes.
type post struct {
	*pair
	mail    *rig.Mail
	login   *rig.Login
	boxes   map[string]string // channels by address
	letters map[string]int    // how many mailboxes each word was sent to
}

func openPost(t *testing.T) *post {
	t.Helper()
	m := rig.StartMail(t)
	x := &post{pair: build(t, site{args: []string{"--allow-dial", "mail=127.0.0.0/8"}}), mail: m, boxes: map[string]string{}, letters: map[string]int{}}
	work := x.nodes[0].NewWorkspace(t)
	x.login = work.NewLogin(t, "Checker", "admin")
	x.login.Also(x.nodes[1].URL)
	x.learn(x.login)
	ca, err := os.ReadFile(m.CA)
	check(t, err)
	for _, address := range []string{help, sales} {
		config := rig.M{"address": address, "name": "Desk", "tlsCa": string(ca), "imapSecurity": "starttls", "smtpSecurity": "starttls", "authservIds": []string{"mx.local.test"}}
		config["imapHost"], config["imapPort"] = split(t, m.IMAP)
		config["smtpHost"], config["smtpPort"] = split(t, m.Submission)
		v := work.Admin.Must(t, `mutation($i:ChannelCreateInput!){channelCreate(input:$i){channel{id} userErrors{code message field}}}`,
			rig.M{"i": rig.M{"kind": "email", "name": rig.Unique(address), "config": config, "secrets": []rig.M{{"name": "imapPassword", "value": rig.MailPassword}}}})
		x.boxes[address] = v.At("channelCreate", "channel", "id").String()
	}
	return x
}

func split(t *testing.T, address string) (string, int) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	check(t, err)
	n, err := strconv.Atoi(port)
	check(t, err)
	return host, n
}

// ask reads at whichever node answers; what a node says is never wrong.
func (x *post) ask(query string, vars rig.M) (out rig.Value) {
	x.t.Helper()
	rig.Eventually(x.t, time.Minute, "a node answers", func() bool {
		v, err := x.login.Ask(context.Background(), query, vars)
		var said *rig.AnswerError
		if errors.As(err, &said) {
			x.t.Fatal(err)
		}
		out = v
		return err == nil
	})
	return out
}

// pull is how the fetching of a mailbox does.
func (x *post) pull(address string) (node, trouble string, watching bool) {
	x.t.Helper()
	v := x.ask(`query($i:ID!){channel(id:$i){health{pulls{node watching error}}}}`, rig.M{"i": x.boxes[address]}).At("channel", "health", "pulls", 0)
	return v.At("node").String(), v.At("error").String(), v.At("watching").Bool()
}

// settled waits until both mailboxes are watched without trouble, and tells how long that took.
func (x *post) settled(what string) time.Duration {
	x.t.Helper()
	began := time.Now()
	rig.Eventually(x.t, slack*takeover, what, func() bool {
		for address := range x.boxes {
			if node, trouble, watching := x.pull(address); node == "" || trouble != "" || !watching {
				return false
			}
		}
		return true
	})
	return time.Since(began)
}

// send hands in a mail to these addresses.
func (x *post) send(to ...string) string {
	x.t.Helper()
	word := rig.Unique("word")
	raw, _ := rig.PlainMail(customer, strings.Join(to, ", "), "Subject "+word, word)
	x.mail.Submit(x.t, raw, customer, to...)
	x.letters[word] = len(to)
	return word
}

// shown are the messages that show a word.
func (x *post) shown() map[string][]string {
	x.t.Helper()
	var p *ledger.Picture
	rig.Eventually(x.t, time.Minute, "everything can be read", func() bool {
		var err error
		p, err = ledger.Look(context.Background(), x.login)
		var said *rig.AnswerError
		if errors.As(err, &said) {
			x.t.Fatal(err)
		}
		return err == nil
	})
	out := map[string][]string{}
	for _, m := range p.Messages {
		for word := range x.letters {
			if strings.Contains(m.Text, word) {
				out[word] = append(out[word], m.ID)
			}
		}
	}
	return out
}

// arrive waits until every mail that was handed in is there from every mailbox, once, and tells how long that took.
func (x *post) arrive(what string) time.Duration {
	x.t.Helper()
	began := time.Now()
	for missing := x.missing(); missing != ""; missing = x.missing() {
		if time.Since(began) > slack*takeover {
			x.t.Fatalf("%s: after %s %s", what, slack*takeover, missing)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}

// missing says what is not there yet; what is there twice is wrong at once.
func (x *post) missing() string {
	x.t.Helper()
	shown := x.shown()
	for word, boxes := range x.letters {
		ids := shown[word]
		if len(ids) > 1 {
			x.t.Fatalf("the mail %s made %d messages: %v", word, len(ids), ids)
		}
		if len(ids) == 0 {
			return "the mail " + word + " is not there"
		}
		v := x.ask(`query($i:ID!){node(id:$i){... on Message{arrivals{channel{id}}}}}`, rig.M{"i": ids[0]})
		ways := map[string]int{}
		for _, a := range v.At("node", "arrivals").List() {
			ways[a.At("channel", "id").String()]++
		}
		for channel, n := range ways {
			if n > 1 {
				x.t.Fatalf("the mail %s arrived %d times by %s", word, n, channel)
			}
		}
		if len(ways) != boxes {
			return fmt.Sprintf("the mail %s arrived by %d of %d mailboxes", word, len(ways), boxes)
		}
	}
	return ""
}

// holder is which node fetches a mailbox.
func (x *post) holder(address string) int {
	x.t.Helper()
	node, _, _ := x.pull(address)
	for n, name := range x.names {
		if name == node {
			return n
		}
	}
	x.t.Fatalf("%s is fetched by %q", address, node)
	return 0
}

// TestMailServerGoneAndBack stops the mail server and kills the node that fetches, and gives a folder new numbers. Every
// mail is in the desk exactly once, one to two mailboxes with two arrivals; health tells of the trouble and of its end.
func TestMailServerGoneAndBack(t *testing.T) {
	x := openPost(t)
	x.settled("both mailboxes are watched")
	x.send(help)
	x.send(sales)
	x.send(help, sales)
	first := x.arrive("the first mails")

	x.send(help, sales) // on its way, or there and not fetched
	x.send(help)
	check(t, x.mail.Stop())
	for address := range x.boxes {
		rig.Eventually(t, slack*takeover, "health tells that the mailbox cannot be read", func() bool {
			_, trouble, _ := x.pull(address)
			return trouble != ""
		})
	}
	n := x.holder(help)
	x.nodes[n].Kill()
	check(t, x.mail.Start())
	x.send(sales)
	x.send(help, sales)
	back := x.arrive("after the mail server came back")
	healthy := x.settled("health tells that the trouble is over")

	x.nodes[n].Launch()
	x.nodes[n].Ready(time.Minute)
	check(t, x.mail.Renumber(help, "INBOX"))
	x.send(help)
	x.send(help, sales)
	renumbered := x.arrive("after the folder got new numbers")
	x.settled("both mailboxes are watched again")

	n = x.holder(help)
	x.nodes[n].Kill()
	x.send(help)
	taken := x.arrive("after the node that fetched was killed")
	x.nodes[n].Launch()
	x.nodes[n].Ready(time.Minute)
	time.Sleep(2 * time.Second) // a second copy would come late
	x.arrive("at the end")
	t.Logf("FIGURE %d mails; first %s; all there %s after the mail server and without its node, health again %s later; new numbers %s; takeover of a mailbox with a mail in it %s (aim %s)",
		len(x.letters), first.Round(time.Millisecond), back.Round(time.Millisecond), healthy.Round(time.Millisecond), renumbered.Round(time.Millisecond), taken.Round(time.Millisecond), takeover)
}
