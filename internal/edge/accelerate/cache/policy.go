// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Policy is a cacheStrategy. The zero value caches nothing.
type Policy struct {
	// TTL is for how long a result is as good as new, and SWR for how long it then may
	// still be given away while it is fetched again.
	TTL, SWR time.Duration
	// Tags are what the result can be invalidated by, sorted.
	Tags []string
}

// Invalidation is what clients ask for with $accelerate.invalidate and invalidateAll.
type Invalidation struct {
	All  bool
	Tags []string
}

// Prisma's limits (@prisma/extension-accelerate, PrismaCacheStrategy and invalidate; and
// Prisma documentation, Accelerate, API reference, cacheStrategy).
const (
	maxTags      = 5
	maxTagLength = 64
)

// longest bounds ttl and swr, for which Prisma has no bound: a longer one is cut to it.
const longest = 365 * 24 * time.Hour

// Caches is whether anything is kept.
func (p Policy) Caches() bool { return p.TTL+p.SWR > 0 }

func (p Policy) digest() (digest [sha256.Size]byte) {
	sum := sha256.New()
	write(sum, fmt.Sprintf("%d %d", p.TTL, p.SWR))
	for _, tag := range p.Tags {
		write(sum, tag)
	}
	sum.Sum(digest[:0])
	return digest
}

// ReadPolicy reads what the client asks for. Without any of it, or with no-cache, nothing
// is cached. The error is Malformed.
func ReadPolicy(header http.Header) (Policy, error) {
	directives, err := readDirectives(strings.Join(header.Values("Cache-Control"), ","))
	if err != nil {
		return Policy{}, err
	}
	_, noCache := directives["no-cache"]
	_, noStore := directives["no-store"]
	policy := Policy{TTL: directives["max-age"], SWR: directives["stale-while-revalidate"]}
	if noCache || noStore || !policy.Caches() {
		return Policy{}, nil
	}
	if policy.Tags, err = readTags(header.Values("Accelerate-Cache-Tags")); err != nil {
		return Policy{}, err
	}
	return policy, nil
}

// readDirectives reads those that are known; others do not matter (RFC 9111, section 5.2.3).
func readDirectives(text string) (map[string]time.Duration, error) {
	directives := map[string]time.Duration{}
	for directive := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name = strings.ToLower(name); name {
		case "no-cache", "no-store":
			directives[name] = 0
		case "max-age", "stale-while-revalidate":
			seconds, err := readSeconds(value)
			if _, twice := directives[name]; twice || err != nil {
				return nil, invalid("%s of Cache-Control has to be there once, as a whole number of seconds", name)
			}
			directives[name] = seconds
		}
	}
	return directives, nil
}

func readSeconds(text string) (time.Duration, error) {
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading seconds: %w", err)
	}
	return time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second, nil
}

func readTags(lines []string) ([]string, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	var tags []string
	for tag := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		tags = append(tags, strings.TrimSpace(tag))
	}
	return checkTags(tags)
}

// checkTags sorts tags, and leaves out those that are there twice.
func checkTags(tags []string) ([]string, error) {
	for i, tag := range tags {
		if tag == "" || len(tag) > maxTagLength || strings.ContainsFunc(tag, notInTags) {
			return nil, invalid("a cache tag has 1 to %d letters, digits and underscores", maxTagLength)
		}
		tags[i] = strings.Clone(tag) // It outlives the request, whose header should not.
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(tags) > maxTags {
		return nil, invalid("there can be no more than %d cache tags", maxTags)
	}
	return tags, nil
}

func notInTags(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// MaxInvalidationBytes is more than the body of a request to invalidate has.
const MaxInvalidationBytes = 4 << 10

// ReadInvalidation reads the body of a request to invalidate: {"tags": [...]} or {"tags":
// "all"}. The error is Malformed.
func ReadInvalidation(body []byte) (Invalidation, error) {
	var request struct {
		Tags json.RawMessage `json:"tags"`
	}
	var tags []string
	malformed := invalid(`the body has to be {"tags": [...]} or {"tags": "all"}`)
	if err := json.Unmarshal(body, &request); err != nil {
		return Invalidation{}, malformed
	}
	if string(request.Tags) == `"all"` {
		return Invalidation{All: true}, nil
	}
	if err := json.Unmarshal(request.Tags, &tags); err != nil || len(tags) == 0 {
		return Invalidation{}, malformed
	}
	tags, err := checkTags(tags)
	return Invalidation{Tags: tags}, err
}

// Malformed is that a client asks for what can not be, in words for it.
type Malformed string

// CodeMalformed is its code in Prisma's terms, InvalidParameters (Prisma documentation,
// Error message reference). Its status is 400.
const CodeMalformed = "P6005"

func (m Malformed) Error() string { return string(m) }

func invalid(message string, words ...any) Malformed {
	return Malformed(fmt.Sprintf(message, words...))
}

// Invalidate makes results of a scope be fetched again: all, or those with any of the
// tags. What is being fetched is not kept, and given only to those who wait for it already.
func (c *Cache) Invalidate(scope Scope, what Invalidation) {
	c.counts.invalidations.Add(1)
	c.marks.invalidate(scope, what)
}
