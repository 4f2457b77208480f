// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"fmt"
	"strconv"
	"time"
)

// date is a point in time as JavaScript's Date has it: in milliseconds, or invalid.
type date struct {
	at    time.Time
	valid bool
}

func dateAt(at time.Time) date { return date{at: at.UTC().Truncate(time.Millisecond), valid: true} }

// iso writes the date as toISOString does; the caller has seen to it that it is valid.
func (d date) iso() string {
	if !d.valid {
		return "Invalid Date"
	}
	return d.at.Format("2006-01-02T15:04:05.000Z")
}

// The texts that PostgreSQL is given for dates, by the column's type.

func (d date) timestampText() string { return d.format("2006-01-02 15:04:05", true) }
func (d date) dayText() string       { return d.format("2006-01-02", false) }
func (d date) timeText() string      { return d.format("15:04:05", true) }

func (d date) format(layout string, precise bool) string {
	if !d.valid {
		return "Invalid Date" // PostgreSQL refuses it, as it does what JavaScript makes of it.
	}
	text := d.at.Format(layout)
	if ms := d.at.Nanosecond() / int(time.Millisecond); precise && ms > 0 {
		text += fmt.Sprintf(".%03d", ms)
	}
	return text
}

// parseDate reads what clients and PostgreSQL write: a day, or a day and a time, with a
// zone or in UTC. Digits beyond milliseconds are cut off.
func parseDate(text string) date {
	reader := dateReader{rest: text}
	year, month, day := reader.day()
	var hour, minute, second, ms int
	if reader.accept('T') || reader.accept(' ') {
		hour, minute, second, ms = reader.time()
	}
	offset := reader.zone()
	sinceMidnight := time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute +
		time.Duration(second)*time.Second + time.Duration(ms)*time.Millisecond
	if reader.broken || reader.rest != "" || month < 1 || month > 12 || day < 1 || day > 31 ||
		minute > 59 || second > 59 || sinceMidnight > 24*time.Hour {
		return date{}
	}
	at := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return date{at: at.Add(sinceMidnight - offset), valid: true}
}

type dateReader struct {
	rest   string
	broken bool
}

func (r *dateReader) accept(c byte) bool {
	if r.rest == "" || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *dateReader) expect(c byte) {
	if !r.accept(c) {
		r.broken = true
	}
}

func (r *dateReader) digits(n int) int {
	if len(r.rest) < n {
		r.broken = true
		return 0
	}
	number, err := strconv.ParseUint(r.rest[:n], 10, 32)
	r.broken = r.broken || err != nil
	r.rest = r.rest[n:]
	return int(number)
}

func (r *dateReader) day() (year, month, day int) {
	switch {
	case r.accept('+'):
		year = r.digits(6)
	case r.accept('-'):
		year = -r.digits(6)
	default:
		year = r.digits(4)
	}
	r.expect('-')
	month = r.digits(2)
	r.expect('-')
	return year, month, r.digits(2)
}

func (r *dateReader) time() (hour, minute, second, ms int) {
	hour = r.digits(2)
	r.expect(':')
	minute = r.digits(2)
	if !r.accept(':') {
		return hour, minute, 0, 0
	}
	second = r.digits(2)
	if r.accept('.') {
		ms = r.milliseconds()
	}
	return hour, minute, second, ms
}

func (r *dateReader) milliseconds() int {
	ms, weight := 0, 100
	begun := len(r.rest)
	for r.rest != "" && r.rest[0] >= '0' && r.rest[0] <= '9' {
		ms += int(r.rest[0]-'0') * weight
		weight /= 10
		r.rest = r.rest[1:]
	}
	r.broken = r.broken || begun == len(r.rest)
	return ms
}

func (r *dateReader) zone() time.Duration {
	west := false
	switch {
	case r.accept('Z'), r.rest == "":
		return 0
	case r.accept('-'):
		west = true
	default:
		r.expect('+')
	}
	offset := time.Duration(r.digits(2)) * time.Hour
	r.expect(':')
	offset += time.Duration(r.digits(2)) * time.Minute
	if west {
		return -offset
	}
	return offset
}
