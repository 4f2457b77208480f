// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import (
	"slices"
	"strings"
)

// comment writes a request's tags as a comment behind its statements (sqlcommenter).
func (d *decoder) comment(tags *object) string {
	keys := slices.Clone(tags.shape.keys)
	slices.SortFunc(keys, compareTags)
	parts := make([]string, 0, len(keys))
	for _, key := range keys {
		parts = append(parts, encodeComponent(key)+"='"+strings.ReplaceAll(encodeComponent(d.text(tags, key)), "'", `\'`)+"'")
	}
	if len(parts) == 0 {
		return ""
	}
	return "/*" + strings.Join(parts, ",") + "*/"
}

// compareTags orders names without regard to case, small letters before capitals where
// nothing else differs.
func compareTags(a, b string) int {
	if order := strings.Compare(strings.ToLower(a), strings.ToLower(b)); order != 0 {
		return order
	}
	return -strings.Compare(a, b)
}

// encodeComponent escapes as encodeURIComponent does. It leaves no / and no second *
// after a *, so that nothing ends the comment.
func encodeComponent(text string) string {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
	var out strings.Builder
	for _, octet := range []byte(text) {
		if strings.IndexByte(plain, octet) >= 0 {
			out.WriteByte(octet)
			continue
		}
		out.WriteByte('%')
		out.WriteByte(upperHex[octet>>4])
		out.WriteByte(upperHex[octet&15])
	}
	return out.String()
}

const upperHex = "0123456789ABCDEF"
