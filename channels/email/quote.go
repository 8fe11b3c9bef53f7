package email

import (
	"regexp"
	"strings"
)

const maxQuoted = 256 << 10 // bytes of Inbound.Quoted

// ownMarker is the line that our own mails put above what they quote.
var ownMarker = regexp.MustCompile(`^\W*##- .{1,200} -##\W*$`)

// attributions are the lines by which clients introduce what they quote. They
// may be wrapped over three lines, and name a time or an address.
var attributions = regexp.MustCompile(`(?i)^[\s>]*(` + strings.Join([]string{
	`On .+ wrote ?[:：]`,
	`Am .+ schrieb.*[:：]`,
	`Le .+ a [ée]crit\s?[:：]`,
	`El .+ escribi[óo] ?[:：]`,
	`Il .+ ha scritto ?[:：]`,
	`Em .+ escreveu ?[:：]`,
	`Op .+ schreef.*[:：]`,
	`.+(写道|寫道|写到)\s?[:：]`,
	`\d{4}年\d{1,2}月\d{1,2}日.*\d{1,2}[:：]\d{2}.*[:：]`,
	`\d{4}[-/]\d{1,2}[-/]\d{1,2}.*<[^<>\s]+@[^<>\s]+>.{0,20}[:：]`,
}, "|") + `)$`)

// separators are lines that stand above a whole mail that is quoted.
var separators = regexp.MustCompile(`(?i)^[\s>]*(` + strings.Join([]string{
	`-{2,}\s?Original(\s|-)?Message\s?-{2,}`, `-{2,}\s?Urspr[üu]ngliche Nachricht\s?-{2,}`, `-{2,}\s?Message d'origine\s?-{2,}`,
	`-{2,}\s?Mensaje original\s?-{2,}`, `-{2,}\s?原始邮件\s?-{2,}`, `-{2,}\s?原始郵件\s?-{2,}`, `-{2,}\s?回复的?原邮件\s?-{2,}`, `-{2,}\s?回复的原邮件\s?-{2,}`,
	`-{2,}\s?转发邮件信息\s?-{2,}`, `-{2,}\s?元のメッセージ\s?-{2,}`, `-{2,}\s?원본 메시지\s?-{2,}`, `_{20,}`,
}, "|") + `)\s*$`)

// headFirst begins the block of fields that Outlook and others put above a
// quoted mail; headRest are the fields of which two must follow it.
var (
	headFirst = regexp.MustCompile(`(?i)^[\s>*]*(发件人|寄件者|寄件人|差出人|보낸 사람|From|Von|De|Da|Van)\s?[*]?\s?[:：]`)
	headRest  = regexp.MustCompile(`(?i)^[\s>*]*(发送时间|寄件日期|傳送時間|时间|日期|日時|送信日時|보낸 날짜|Sent|Date|Gesendet|Datum|Envoyé|Enviado|收件人|收件者|宛先|받는 사람|To|An|À|Para|主题|主題|主旨|件名|제목|Subject|Betreff|Objet|Asunto|抄送|副本|Cc)\s?[*]?\s?[:：]`)
)

// signature is where a signature begins; device is the line that phones add.
var (
	signature = regexp.MustCompile(`^-- ?$`)
	device    = regexp.MustCompile(`(?i)^\s*(sent from my .{1,60}|sent from (mail|outlook|yahoo mail|mailbird|spark|samsung|huawei|xiaomi).{0,80}|get outlook for .{1,60}|von meinem .{1,60} gesendet|envoyé de mon .{1,60}|enviado desde mi .{1,60}|发自我的.{1,40}|發自我的.{1,40}|来自我的.{1,40}|從我的.{1,40}(傳送|发送)|iPhoneから送信|나의 .{1,30}에서 보냄|从 ?(Windows|iPhone|Android).{0,40}发送)\s*$`)
)

// forwarded is how the subject of a mail begins that hands on another one.
var forwarded = regexp.MustCompile(`(?i)^\s*(re\s?[:：]\s*)?(fwd?|wg|tr|rv|enc|vs|i|转发|轉寄|轉發|转寄|転送)\s?[:：]`)

// quoting finds where the sender's own words end.
type quoting struct{ lines []string }

// visible divides a text into what the sender wrote and what he quoted: earlier
// mails and signatures. A forwarded mail is all his; so is one that answers
// between the quoted lines, and one of which nothing would be left.
func visible(text, subject string) (own, rest string) {
	text = strings.TrimRight(text, " \t\n")
	if forwarded.MatchString(subject) {
		return text, ""
	}
	q := quoting{strings.Split(text, "\n")}
	cut := q.cut()
	own = strings.TrimRight(strings.Join(q.lines[:cut], "\n"), " \t\n")
	if strings.TrimSpace(own) == "" {
		return text, ""
	}
	rest = strings.Trim(strings.Join(q.lines[cut:], "\n"), "\n")
	return own, bounded(rest, maxQuoted)
}

// cut is the first line that is not the sender's own.
func (q quoting) cut() int {
	cut := len(q.lines)
	for i := range q.lines {
		if q.begins(i) {
			if q.answeredBelow(i) {
				return len(q.lines)
			}
			cut = i
			break
		}
	}
	if cut == len(q.lines) {
		cut = q.trailingQuote()
	}
	return q.signed(cut)
}

// begins tells whether a quoted mail begins at line i.
func (q quoting) begins(i int) bool {
	line := q.lines[i]
	switch {
	case line == "" || len(line) > 2000:
		return false
	case ownMarker.MatchString(line):
		return !q.blank(0, i)
	case separators.MatchString(line):
		return !isRule(line) || q.headed(i+1)
	}
	return q.attributed(i) || q.headed(i)
}

// isRule tells a line of underscores, which means a quotation only above its fields.
func isRule(line string) bool { return strings.Trim(line, "_ \t>") == "" }

// attributed tells whether lines i to i+2 introduce a quotation.
func (q quoting) attributed(i int) bool {
	joined := ""
	for n := i; n < min(i+3, len(q.lines)); n++ {
		line := strings.TrimSpace(q.lines[n])
		if line == "" || len(line) > 400 {
			return false
		}
		joined += line
		// The cheap looks come first: a mail can have many lines.
		if (strings.HasSuffix(line, ":") || strings.HasSuffix(line, "：")) && strings.ContainsAny(joined, "0123456789@") && attributions.MatchString(joined) {
			return true
		}
		joined += " "
	}
	return false
}

// headed tells whether the fields of a quoted mail stand at line i or the next.
func (q quoting) headed(i int) bool {
	if i < len(q.lines) && strings.TrimSpace(q.lines[i]) == "" && i > 0 && isRule(q.lines[i-1]) {
		i++
	}
	if i >= len(q.lines) || !headFirst.MatchString(q.lines[i]) {
		return false
	}
	found := 0
	for _, line := range q.lines[i+1 : min(i+7, len(q.lines))] {
		if len(line) < 2000 && headRest.MatchString(line) {
			found++
		}
	}
	return found >= 2
}

// answeredBelow tells whether the sender wrote below or between the lines that
// he quoted with marks.
func (q quoting) answeredBelow(i int) bool {
	quoted := false
	for _, line := range q.lines[i+1:] {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), ">"):
			quoted = true
		case signature.MatchString(line):
			return false
		case quoted && strings.TrimSpace(line) != "" && !device.MatchString(line):
			return true
		}
	}
	return false
}

// trailingQuote is where marked lines begin that nothing follows.
func (q quoting) trailingQuote() int {
	cut := len(q.lines)
	for i := len(q.lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(q.lines[i])
		switch {
		case strings.HasPrefix(line, ">"):
			cut = i
		case line != "":
			return cut
		}
	}
	return cut
}

// signed moves the cut up to a signature above it.
func (q quoting) signed(cut int) int {
	for i := range cut {
		if signature.MatchString(q.lines[i]) && !q.blank(0, i) {
			return i
		}
	}
	last := cut
	for last > 0 && strings.TrimSpace(q.lines[last-1]) == "" {
		last--
	}
	if last > 0 && device.MatchString(q.lines[last-1]) {
		return last - 1
	}
	return cut
}

func (q quoting) blank(from, to int) bool {
	for _, line := range q.lines[from:to] {
		if strings.TrimSpace(line) != "" {
			return false
		}
	}
	return true
}

// bounded cuts a text between characters.
func bounded(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return strings.ToValidUTF8(s[:max], "")
}
