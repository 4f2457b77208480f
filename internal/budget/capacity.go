// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

const (
	// DefaultDirectPercent of max_connections is left to others than pools.
	DefaultDirectPercent = 5
	// DefaultDirectMinimum is the least that the default leaves to others.
	DefaultDirectMinimum = 3
	// DirectMinimum is the least that anybody can choose to leave: the operator's own
	// look at the server, and one person who wants to know what is wrong.
	DirectMinimum = 2
)

// Capacity is what a server has, in connections.
type Capacity struct {
	// MaxConnections is the server's. Source: PostgreSQL setting max_connections.
	MaxConnections int32
	// SuperuserReserved is the server's. Source: setting superuser_reserved_connections.
	SuperuserReserved int32
	// Reserved is the server's, from PostgreSQL 16 on. Source: setting reserved_connections.
	Reserved int32
}

// Reserve is what the administrator withholds from pools, in connections. The
// zero value is the default.
type Reserve struct {
	// Direct is left to others than pools, as a number. It goes before DirectPercent.
	Direct *int32
	// DirectPercent is the same as a percentage of max_connections, rounded up.
	DirectPercent *int32
	// MaxServerConnections is a ceiling on what pools take together.
	MaxServerConnections *int32
}

// Budget is how a server's connections divide between pools and others. No
// number in it is negative.
type Budget struct {
	// Direct is left to others than pools.
	Direct int32
	// Withheld is all that pools never take: the server's two reserves, and Direct.
	Withheld int32
	// Connections is what all pools together may take.
	Connections int32
}

// Budget is what remains of an observed capacity. Without a word from the
// administrator 5 % of max_connections is left to others, at least 3; whatever
// the administrator says, at least 2.
func (c Capacity) Budget(r Reserve) Budget {
	direct := r.direct(c.MaxConnections)
	withheld := max(c.SuperuserReserved, 0) + max(c.Reserved, 0) + direct
	return Budget{Direct: direct, Withheld: withheld, Connections: r.ceiling(c.MaxConnections - withheld)}
}

// Declared is the budget where the server can not be asked and a number given by
// hand stands in. That number is what pools may take together: whoever counted it
// has left out what is not theirs, and a default taken off on top would be a
// surprise. What the administrator withholds in so many words still comes off.
func Declared(connections int32, r Reserve) Budget {
	var direct int32
	if r.Direct != nil || r.DirectPercent != nil {
		direct = r.direct(connections)
	}
	return Budget{Direct: direct, Withheld: direct, Connections: r.ceiling(connections - direct)}
}

func (r Reserve) direct(maxConnections int32) int32 {
	switch {
	case r.Direct != nil:
		return max(*r.Direct, DirectMinimum)
	case r.DirectPercent != nil:
		return max(percent(*r.DirectPercent, maxConnections), DirectMinimum)
	default:
		return max(percent(DefaultDirectPercent, maxConnections), DefaultDirectMinimum)
	}
}

func (r Reserve) ceiling(connections int32) int32 {
	if r.MaxServerConnections != nil {
		connections = min(connections, *r.MaxServerConnections)
	}
	return max(connections, 0)
}

// percent rounds up, so that what is left to others is never less than was asked.
func percent(p, of int32) int32 {
	return int32((int64(p)*int64(max(of, 0)) + 99) / 100) //nolint:gosec // At most of, for a percentage up to 100.
}
