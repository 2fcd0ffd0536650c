/*
 * How several brokers, the controller among them and PostgreSQL bring one rollout to its devices.
 *
 * Every `atomic` step is one transaction or one step of one thread of the plugin; the comment in front of it names the function that it
 * models.  docs/design/model.md says what is left out, which properties are checked, and how.
 *
 * MUTANT=... builds a wrong protocol on purpose; tests/model/run.sh checks that each violates the property it should.
 */

#ifndef BROKERS
#define BROKERS 2
#endif
#ifndef DEVICES
#define DEVICES 2
#endif
#ifndef FIRST_STAGE
#define FIRST_STAGE 1 /* devices in the first stage; the second is the whole fleet */
#endif
#ifndef IN_FLIGHT
#define IN_FLIGHT 1 /* plan: max_in_flight */
#endif
#ifndef CRASHES
#define CRASHES 1 /* kill -9 of a broker; it may stay dead while another one lives */
#endif
#ifndef CUTS
#define CUTS 1 /* a broker's session in the database ends, the broker lives on */
#endif
#ifndef MOVES
#define MOVES 1 /* sessions that a device ends by itself */
#endif
#ifndef HALTS
#define HALTS 1 /* an operator halts, and resumes some time later */
#endif
#ifndef OUTBOX
#define OUTBOX 2 /* records that fit; a device waits with more */
#endif

#define NOWHERE BROKERS
#define NOBODY BROKERS
#define NONE DEVICES

/* Wrong protocols. */
#define NO_HOLD 1		/* the claim does not hold the rollout */
#define TELL_EARLY 2	/* told before the row is committed */
#define NO_SEQUENCE 3	/* batches without numbers */
#define NO_TAKE_OVER 4	/* the controller's lock is not released */
#define ACK_EARLY 5		/* PUBACK before the record is in the outbox */
#define NO_LOCK 6		/* every broker controls */
#define DEAF_GATE 7		/* the gate does not ask whether the rollout is live */
#define LATE_UNTOLD 8	/* "not connected" of a broker that the device has left counts */
#define LOST_SLOT 9		/* a slot stays with the broker that it was given to */
#define LOST_RECALL 10	/* a recall waits for the broker that told */
#define LOST_ANSWER 11	/* nobody asks after a claim whose answer was lost */
#define NO_STAGE 12		/* the whole fleet joins in the first stage */
#define TELL_TWICE 13	/* the gate does not remember what it has told */
#define STRICT_HALT 14	/* not a mutant: asks for more than is promised */
#define NO_END 15		/* an offer may be told however old it is */
#define KEEP_UNTOLD 16	/* a halt takes who was to be told next for told */
#ifndef MUTANT
#define MUTANT 0
#endif

/* ota.rollout.state */
#define SCHEDULED 0
#define RUNNING 1
#define HALTED 2
#define COMPLETED 3
#define ENDED 4 /* cancelled by an operator */
/* ota.device_update.state; everything between the notice and the outcome is NOTIFIED */
#define ABSENT 0
#define PENDING 1
#define NOTIFIED 2
#define SUCCEEDED 3
#define CANCELLED 4
#define RECALLED 5 /* cancelled by a halt: told once more after it is resumed */
/* kinds of events in the outbox */
#define LISTENING 1
#define DISCONNECTED 2
#define REPORT 3
#define UNDELIVERED 4 /* the rollout is not live */
#define NOT_HERE 5	  /* undelivered: not connected to this broker */
#define REFUSED 6	  /* undelivered for good: runs the version already */
/* decisions of the controller */
#define OPEN_STAGE 1
#define GRANT 2
#define COMPLETE 3
#define START 4

/* --- the tables --- */

byte rollout = SCHEDULED;
byte stage;			  /* current_stage; 0: none is open yet */
byte leader = NOBODY; /* who holds the advisory lock ota.controller */

typedef row { /* ota.device_update and ota.device of one device */
	byte state;
	bit ready;
	bit granted;
	byte broker; /* granted to, then told by */
	bit untold; /* notified from the opening of its stage, and in no page yet: behind the mark of ota.hand_out */
	bit recall;
	byte attempt;
	byte told_session;
	bit retell;
	byte session;
	bit listening;
	byte at; /* ota.device.broker */
	bit cut_off;
	bit runs /* the version of the release */
};
row rows[DEVICES];

/* --- the brokers --- */

typedef process {
	bit up;
	bit dead;		  /* and does not come back */
	bit greeted;	  /* this process has said hello before */
	bit link;		  /* has a session in the database, and with it the lock of its name */
	bit live;		  /* the gate knows the rollout as live */
	byte claiming;	  /* the device whose claim is in progress */
	byte decided;	  /* by the controller, on what it has read */
	byte chosen;	  /* the device that it gives a slot, or the stage after which it opens the next */
	bit ahead;		  /* the database has the oldest record of the outbox already */
	byte offer[DEVICES];  /* attempt; in the queue to the gate */
	bit fits[DEVICES];	  /* the offer's facts: it does not run the version yet */
	bit late[DEVICES];	  /* the offer's time is over */
	bit recall[DEVICES];  /* owed by the gate */
	byte told[DEVICES];	  /* attempt that the gate has told in the device's session here */
	byte floor[DEVICES]	  /* lower sessions were another process's */
};
process brokers[BROKERS];
/* The outbox: kind, device, session, attempt.  It survives the broker. */
chan outbox[BROKERS] = [OUTBOX] of { byte, byte, byte, byte };

/* --- the devices --- */

typedef unit {
	byte at;
	byte session;
	byte notice; /* attempt of the notice in hand */
	bit runs;
	bit owes /* a report that is not acknowledged yet */
};
unit devices[DEVICES];

byte crashes = CRASHES;
byte cuts = CUTS;
byte moves = MOVES;
byte halts = HALTS;

/* --- what is checked: see docs/design/model.md --- */

byte acknowledged[DEVICES]; /* reports that got their PUBACK */
byte kept[DEVICES];			/* ... that are in an outbox and not in the database */
byte counted[DEVICES];		/* ... that are in ota.event */
byte committed[DEVICES];	/* attempt of the last committed claim */
byte last_told[DEVICES];	/* session and attempt of the last notice */
bit stage_is_not_exceeded = 1;
bit pace_is_not_exceeded = 1;
bit no_claim_after_halt = 1;
bit only_told_is_recalled = 1;
bit nothing_told_after_halt_is_heard = 1;
bit nothing_told_after_halt = 1;
bit nothing_told_long_after_halt = 1;
bit long_ago; /* the halt or cancellation is: every offer of before has had its time */
bit told_is_committed = 1;
bit one_notice_per_attempt = 1;
bit no_report_is_counted_twice = 1;
bit no_report_is_lost = 1;
bit no_recall_is_left = 1;
bit no_rollout_is_stuck = 1;

#define is_open (rollout == RUNNING || rollout == COMPLETED)
#define in_cohort(d) (stage > 1 || (stage == 1 && (d) < FIRST_STAGE))
#define in_flight(d) (rows[d].state == NOTIFIED || (rows[d].state == PENDING && rows[d].granted))
#define is_untold(d) (rows[d].state == NOTIFIED && rows[d].untold)
#define is_over(d) (!in_cohort(d) || rows[d].state >= SUCCEEDED)
#define waits(d) (rows[d].state == PENDING && rows[d].ready && !rows[d].granted)
#define may_claim(b, d)                                                                                                        \
	((rows[d].state == PENDING && rows[d].granted && rows[d].broker == b)                                                      \
		|| (rows[d].state == NOTIFIED && rows[d].untold && rows[d].broker == b && !(rows[d].retell && rows[d].at != b))        \
		|| (rows[d].state == NOTIFIED && rows[d].retell && rows[d].at == b && rows[d].listening))
#define may_recall(b, d)                                                                                                       \
	(rows[d].recall && (MUTANT == LOST_RECALL -> rows[d].broker == b : rows[d].at == b && rows[d].listening))
#define has_room(b) (nfull(outbox[b]))
#define leads(b) (brokers[b].link && (leader == b || MUTANT == NO_LOCK))
#define reads(b) (leads(b) && brokers[b].decided == 0)

#define is_stray(d) (rows[d].listening && rows[d].at != NOWHERE && !brokers[rows[d].at].link)
#if BROKERS == 2
#define is_locked(d) (brokers[0].claiming == d || brokers[1].claiming == d)
#define nobody_claims (brokers[0].claiming == NONE && brokers[1].claiming == NONE)
#define others_live(b) (!brokers[1 - b].dead)
#define each_broker(step) step(0) step(1)
#define a_broker_is_dead (brokers[0].dead || brokers[1].dead)
#elif BROKERS == 3
#define is_locked(d) (brokers[0].claiming == d || brokers[1].claiming == d || brokers[2].claiming == d)
#define nobody_claims (brokers[0].claiming == NONE && brokers[1].claiming == NONE && brokers[2].claiming == NONE)
#define others_live(b) (!brokers[(b + 1) % 3].dead || !brokers[(b + 2) % 3].dead)
#define each_broker(step) step(0) step(1) step(2)
#define a_broker_is_dead (brokers[0].dead || brokers[1].dead || brokers[2].dead)
#endif
#if DEVICES == 2
#define all_over (is_over(0) && is_over(1))
#define flying (in_flight(0) + in_flight(1))
#define one_waits (waits(0) || waits(1))
#define has_strays (is_stray(0) || is_stray(1))
#define has_untold (is_untold(0) || is_untold(1))
#define each(step) step(0) step(1)
#elif DEVICES == 3
#define all_over (is_over(0) && is_over(1) && is_over(2))
#define flying (in_flight(0) + in_flight(1) + in_flight(2))
#define one_waits (waits(0) || waits(1) || waits(2))
#define has_strays (is_stray(0) || is_stray(1) || is_stray(2))
#define has_untold (is_untold(0) || is_untold(1) || is_untold(2))
#define each(step) step(0) step(1) step(2)
#endif

/* ota.broker_write(), the part about slots: who stops listening, or listens elsewhere, gives its slot back. */
inline settle_slot(d)
{
	if
	:: rows[d].state == PENDING && MUTANT == LOST_SLOT ->
		if
		:: rows[d].ready != rows[d].listening -> rows[d].granted = rows[d].granted && rows[d].listening
		:: else
		fi;
		rows[d].ready = rows[d].listening
	:: rows[d].state == PENDING && MUTANT != LOST_SLOT ->
		rows[d].granted = rows[d].granted && rows[d].listening && rows[d].broker == rows[d].at;
		rows[d].ready = rows[d].listening
	:: else
	fi
}

/* note_session() in plugin/store/fold.c */
inline note_session(b, d, session)
{
	if
	:: session > rows[d].session -> rows[d].session = session; rows[d].listening = 0
	:: else
	fi;
	if
	:: session == rows[d].session && session >= brokers[b].floor[d] -> rows[d].at = b; rows[d].cut_off = 0
	:: else
	fi
}

/* fold_one() in plugin/store/fold.c, and what ota.broker_write() makes of it. */
inline apply(b, kind, d, session, attempt)
{
	if
	:: kind == LISTENING -> /* fold_listening() */
		note_session(b, d, session);
		rows[d].listening = rows[d].listening || (session == rows[d].session && session >= brokers[b].floor[d]);
		rows[d].retell = rows[d].retell || (rows[d].state == NOTIFIED && session != rows[d].told_session)
	:: kind == DISCONNECTED -> /* fold_disconnected() */
		if
		:: session >= rows[d].session -> rows[d].listening = 0; rows[d].cut_off = 0
		:: else
		fi
	:: kind == REPORT -> /* fold_report(): the only outcome here is success */
		note_session(b, d, session);
		rows[d].runs = 1;
		kept[d] = kept[d] - (kept[d] > 0 -> 1 : 0);
		counted[d]++;
		no_report_is_counted_twice = counted[d] <= acknowledged[d];
		assert(no_report_is_counted_twice);
		if
		:: rows[d].state == NOTIFIED -> rows[d].state = SUCCEEDED; rows[d].retell = 0
		:: else
		fi
	:: else -> /* fold_undelivered() */
		if
		:: rows[d].state == NOTIFIED && rows[d].attempt == attempt && (MUTANT == LATE_UNTOLD || rows[d].broker == b) ->
			rows[d].retell = 0;
			rows[d].granted = 0;
			rows[d].state = (kind == REFUSED -> CANCELLED : PENDING);
			if
			:: kind == NOT_HERE && (MUTANT == LATE_UNTOLD || rows[d].session == rows[d].told_session) -> rows[d].listening = 0
			:: else
			fi;
			rows[d].ready = rows[d].state == PENDING && rows[d].listening
		:: else
		fi
	fi;
	settle_slot(d)
}

/* ota.hand_back() */
inline hand_back(d)
{
	rows[d].state = PENDING;
	rows[d].untold = 0;
	rows[d].retell = 0;
	rows[d].ready = rows[d].listening;
	rows[d].granted = rows[d].listening && rows[d].at == rows[d].broker
}

/* --- the end of a session, of a broker --- */

/* The session in the database ends: the server lets go of all its locks. */
inline lose_session(b)
{
	brokers[b].link = 0;
	brokers[b].claiming = NONE;
	brokers[b].decided = 0;
	brokers[b].chosen = 0;
	leader = (leader == b && MUTANT != NO_TAKE_OVER -> NOBODY : leader)
}

/* kill -9: what is in memory is gone, and so are the sessions of its devices. */
inline die(b)
{
	crashes--;
	lose_session(b);
	brokers[b].up = 0;
	brokers[b].greeted = 0;
	brokers[b].live = 0;
	for (i : 0 .. DEVICES - 1) {
		brokers[b].offer[i] = 0;
		brokers[b].fits[i] = 0;
		brokers[b].late[i] = 0;
		brokers[b].recall[i] = 0;
		brokers[b].told[i] = 0;
		brokers[b].floor[i] = devices[i].session + 1;
		if
		:: devices[i].at == b -> devices[i].at = NOWHERE; devices[i].notice = 0
		:: else
		fi
	}
	i = 0
}

/* ... because the broker is killed, or by itself. */
inline lose(b)
{
	if
	:: crashes > 0 -> die(b)
	:: else -> cuts--; lose_session(b)
	fi
}

/* --- the store thread --- */

proctype folds(byte b)
{
	byte kind, d, session, attempt, i;
end:
	do
	/*
	 * fold_events(), one transaction, and outbox_commit() when its answer is here.  broker_updates() waits for locked rows; of other
	 * devices' rows it does not matter.  Nobody looks at what is between the two, except a crash and a cut, which have a step of
	 * their own: the database has the batch, and the broker does not know.
	 */
	:: d_step {
		brokers[b].link && nempty(outbox[b]) && nobody_claims ->
		outbox[b] ? kind, d, session, attempt;
		apply(b, kind, d, session, attempt);
		kind = 0; d = 0; session = 0; attempt = 0
	}
	:: d_step {
		(crashes > 0 || cuts > 0) && brokers[b].link && nempty(outbox[b]) && nobody_claims ->
		outbox[b] ? <kind, d, session, attempt>;
		apply(b, kind, d, session, attempt);
		brokers[b].ahead = 1;
		kind = 0; d = 0; session = 0; attempt = 0;
		lose(b)
	}
	od
}

/* Who listens at the broker that opens the stage is notified from the beginning, as far as the pace allows. */
inline open_stage(b, k)
{
	stage = k;
	for (i : 0 .. DEVICES - 1) {
		if
		:: in_cohort(i) && rows[i].state == ABSENT && rows[i].listening && rows[i].at == b && flying < IN_FLIGHT ->
			rows[i].state = NOTIFIED;
			rows[i].untold = 1;
			rows[i].attempt = 1;
			rows[i].told_session = rows[i].session;
			rows[i].broker = b
		:: (in_cohort(i) || MUTANT == NO_STAGE) && rows[i].state == ABSENT && !(in_cohort(i) && rows[i].listening && rows[i].at == b && flying < IN_FLIGHT) ->
			rows[i].state = PENDING;
			rows[i].attempt = 1;
			rows[i].ready = rows[i].listening
		:: else
		fi
	}
}

proctype controls(byte b)
{
	byte i;
end:
	do
	/* take_lead(): pg_try_advisory_lock(). */
	:: d_step { brokers[b].link && leader == NOBODY && MUTANT != NO_LOCK -> leader = b }
	/* controller_read() and what the rules make of it.  A transaction of its own; what is still in an outbox is not seen. */
	:: d_step {
		reads(b) && (rollout == SCHEDULED || (rollout == RUNNING && all_over)) ->
		brokers[b].decided = (rollout == SCHEDULED -> START : (stage == 2 -> COMPLETE : OPEN_STAGE));
		brokers[b].chosen = stage
	}
	:: d_step {
		reads(b) && is_open && one_waits && flying < IN_FLIGHT && !(rollout == RUNNING && all_over) ->
		brokers[b].decided = GRANT;
		i = 0;
		do
		:: waits(i) -> break
		:: else -> i++
		od;
		brokers[b].chosen = i;
		i = 0
	}
	/* run_in_transaction(): controller_lock(), then controller_open_stage(), rollout_step() or controller_grant(). */
	:: d_step {
		leads(b) && brokers[b].decided > 0 ->
		i = brokers[b].chosen;
		if
		:: brokers[b].decided == START && rollout == SCHEDULED -> rollout = RUNNING
		:: brokers[b].decided == OPEN_STAGE && rollout == RUNNING && stage == brokers[b].chosen -> open_stage(b, stage + 1)
		:: brokers[b].decided == COMPLETE && rollout == RUNNING && stage == 2 -> rollout = COMPLETED
		:: brokers[b].decided == GRANT && is_open && waits(i) && !is_locked(i) ->
			rows[i].granted = 1;
			rows[i].broker = rows[i].at;
			pace_is_not_exceeded = flying <= IN_FLIGHT;
			assert(pace_is_not_exceeded)
		:: else
		fi;
		brokers[b].decided = 0;
		brokers[b].chosen = 0;
		i = 0
	}
	/* ota.controller_hand_back(): whatever is being handed out may take too long. */
	:: d_step {
		leads(b) && nobody_claims && has_untold ->
		for (i : 0 .. DEVICES - 1) {
			if
			:: is_untold(i) -> hand_back(i)
			:: else
			fi
		}
		i = 0
	}
	/* ota.broker_sweep(): devices of a broker whose name nobody holds. */
	:: d_step {
		leads(b) && nobody_claims && has_strays ->
		for (i : 0 .. DEVICES - 1) {
			if
			:: is_stray(i) ->
				rows[i].listening = 0;
				rows[i].cut_off = 1;
				rows[i].ready = 0;
				rows[i].granted = rows[i].granted && rows[i].state != PENDING
			:: else
			fi
		}
		i = 0
	}
	od
}


/* ota.broker_recalls().  The queue to the gate keeps the order, so an offer that is in it goes first. */
#define TAKE_RECALL(d)                                                                                                         \
	:: d_step { brokers[b].link && may_recall(b, d) && !is_locked(d) && brokers[b].offer[d] == 0 ->                            \
		rows[d].recall = 0;                                                                                                    \
		brokers[b].recall[d] = 1                                                                                               \
	}

/*
 * ota.broker_claim() or ota.broker_hand_out() begins: the rollout is locked against a halt, and the device's row; a page locks no row, but
 * sees all of them at one moment.  A pass looks at the rollouts before.
 */
#define CLAIM(d)                                                                                                               \
	:: d_step {                                                                                                                \
		brokers[b].link && brokers[b].live && is_open && brokers[b].claiming == NONE && may_claim(b, d)\
			&& !is_locked(d) && brokers[b].offer[d] == 0 ->                                                                    \
		brokers[b].claiming = d;                                                                                               \
		brokers[b].offer[d] = (MUTANT == TELL_EARLY -> rows[d].attempt : 0);                                                   \
		brokers[b].fits[d] = !rows[d].runs                                                                                     \
	}

inline commit_claim(b, d)
{
	no_claim_after_halt = is_open;
	assert(no_claim_after_halt);
	stage_is_not_exceeded = in_cohort(d);
	assert(stage_is_not_exceeded);
	rows[d].state = NOTIFIED;
	rows[d].told_session = (rows[d].untold && !rows[d].retell -> rows[d].told_session : rows[d].session);
	rows[d].untold = 0;
	rows[d].ready = 0;
	rows[d].retell = 0;
	rows[d].recall = 0;
	rows[d].broker = b;
	committed[d] = rows[d].attempt;
	brokers[b].claiming = NONE
}

/* A page passes over who is back at another broker, which tells him again. */
#define PASS(d)                                                                                                                \
	:: d_step {                                                                                                                \
		brokers[b].link && is_open && is_untold(d) && rows[d].broker == b && rows[d].retell && rows[d].at != b                 \
			&& !is_locked(d) ->                                                                                                \
		rows[d].untold = 0                                                                                                     \
	}

proctype hands_out(byte b)
{
	byte d;
end:
	do
	/* feed_rollouts() */
	:: d_step { brokers[b].link && brokers[b].live != is_open -> brokers[b].live = is_open }
	each(TAKE_RECALL)
	each(CLAIM)
	each(PASS)
	/* ... and commits.  feed_push(): the answer is here, the gate may tell. */
	:: d_step {
		brokers[b].claiming != NONE ->
		d = brokers[b].claiming;
		commit_claim(b, d);
		brokers[b].offer[d] = (MUTANT == TELL_EARLY -> brokers[b].offer[d] : rows[d].attempt);
		d = 0
	}
	/* ... or the session ends before the answer is here. */
	:: d_step {
		cuts > 0 && brokers[b].claiming != NONE ->
		d = brokers[b].claiming;
		commit_claim(b, d);
		cuts--;
		lose_session(b);
		d = 0
	}
	od
}

/* --- the gate --- */

#define already_told(b, d) (brokers[b].told[d] == brokers[b].offer[d] && MUTANT != TELL_TWICE)

/* offer() in plugin/gate/deliver.c */
#define TELL(d)                                                                                                                \
	:: d_step {                                                                                                                \
		brokers[b].offer[d] > 0 && has_room(b) && !(brokers[b].recall[d] && devices[d].at == b) ->                             \
		if                                                                                                                     \
		:: !brokers[b].live && MUTANT != DEAF_GATE -> outbox[b]!UNDELIVERED, d, 0, brokers[b].offer[d]                         \
		:: (brokers[b].live || MUTANT == DEAF_GATE) && brokers[b].late[d] && MUTANT != NO_END ->                               \
			outbox[b]!UNDELIVERED, d, 0, brokers[b].offer[d]                                                                   \
		:: else ->                                                                                                             \
			if                                                                                                                 \
			:: devices[d].at != b -> outbox[b]!NOT_HERE, d, 0, brokers[b].offer[d]                                             \
			:: devices[d].at == b && !brokers[b].fits[d] -> outbox[b]!REFUSED, d, 0, brokers[b].offer[d]                       \
			:: devices[d].at == b && brokers[b].fits[d] && already_told(b, d) -> skip                                          \
			:: else ->                                                                                                         \
				nothing_told_after_halt_is_heard = brokers[b].live;                                                            \
				assert(nothing_told_after_halt_is_heard);                                                                      \
				nothing_told_after_halt = is_open || MUTANT != STRICT_HALT;                                                    \
				assert(nothing_told_after_halt);                                                                               \
				nothing_told_long_after_halt = !long_ago;                                                                      \
				assert(nothing_told_long_after_halt);                                                                          \
				told_is_committed = committed[d] >= brokers[b].offer[d];                                                       \
				assert(told_is_committed);                                                                                     \
				one_notice_per_attempt = last_told[d] != devices[d].session * 8 + brokers[b].offer[d];                         \
				assert(one_notice_per_attempt);                                                                                \
				last_told[d] = devices[d].session * 8 + brokers[b].offer[d];                                                   \
				brokers[b].told[d] = brokers[b].offer[d];                                                                      \
				brokers[b].recall[d] = 0; /* told_notice_put() */                                                              \
				devices[d].notice = brokers[b].offer[d]                                                                        \
			fi                                                                                                                 \
		fi;                                                                                                                    \
		brokers[b].offer[d] = 0;                                                                                               \
		brokers[b].late[d] = 0;                                                                                                \
		brokers[b].fits[d] = 0                                                                                                 \
	}

/* recall() and deliver_owed() in plugin/gate/deliver.c */
#define RECALL(d)                                                                                                              \
	:: d_step {                                                                                                                \
		brokers[b].recall[d] && devices[d].at == b ->                                                                          \
		brokers[b].recall[d] = 0;                                                                                              \
		devices[d].notice = 0                                                                                                  \
	}

proctype gates(byte b)
{
end:
	do
	each(TELL)
	each(RECALL)
	od
}

/* --- what happens to a broker --- */

proctype lives(byte b)
{
	byte kind, d, session, attempt, i;
end:
	do
	/* kill -9, at any moment */
	:: atomic {
		crashes > 0 && brokers[b].up ->
		if
		:: others_live(b) -> brokers[b].dead = 1
		:: skip
		fi;
		d_step { die(b) }
	}
	:: d_step { !brokers[b].up && !brokers[b].dead -> brokers[b].up = 1 }
	/* The server, the network or a pooler ends the session. */
	:: d_step { cuts > 0 && brokers[b].link -> cuts--; lose_session(b) }
	/* link_connect(): take_name() and ota.broker_hello(), with outbox_skip_to(). */
	:: d_step {
		brokers[b].up && !brokers[b].link && nobody_claims ->
		brokers[b].link = 1;
		if
		:: brokers[b].ahead && MUTANT != NO_SEQUENCE ->
			outbox[b] ? kind, d, session, attempt;
			kind = 0; d = 0; session = 0; attempt = 0
		:: else
		fi;
		brokers[b].ahead = 0;
		for (i : 0 .. DEVICES - 1) {
			if
			:: is_untold(i) && rows[i].broker == b -> hand_back(i) /* ota.broker_hand_back() */
			:: else
			fi;
			if
			:: !brokers[b].greeted && rows[i].at == b -> /* ota.broker_sessions_end() */
				rows[i].listening = 0;
				rows[i].cut_off = 0;
				rows[i].ready = 0;
				rows[i].granted = rows[i].granted && rows[i].state != PENDING
			:: brokers[b].greeted && rows[i].at == b && rows[i].cut_off -> /* ota.broker_sessions_return() */
				rows[i].listening = 1;
				rows[i].cut_off = 0;
				rows[i].ready = rows[i].state == PENDING
			:: else
			fi;
			/* A claim, or a page, may have been committed whose answer never came. */
			if
			:: brokers[b].greeted && rows[i].broker == b && rows[i].state == NOTIFIED && MUTANT != LOST_ANSWER ->
				rows[i].retell = 1
			:: else
			fi
		}
		i = 0;
		brokers[b].greeted = 1
	}
	od
}

/* --- a device --- */

#define CONNECT(b)                                                                                                             \
	:: d_step {                                                                                                                \
		devices[d].at == NOWHERE && brokers[b].up && has_room(b) ->                                                            \
		devices[d].at = b;                                                                                                     \
		devices[d].session++;                                                                                                  \
		outbox[b]!LISTENING, d, devices[d].session, 0                                                                          \
	}

proctype updates(byte d)
{
end:
	do
	/* Connects and subscribes, wherever the load balancer sends it. */
	CONNECT(0)
	CONNECT(1)
#if BROKERS == 3
	CONNECT(2)
#endif
	:: d_step { devices[d].notice > 0 -> devices[d].notice = 0; devices[d].runs = 1; devices[d].owes = 1 }
	/* SUCCESS.  gate/emit.c: in the outbox before the PUBACK leaves. */
#if MUTANT == ACK_EARLY
	:: atomic { devices[d].owes && devices[d].at != NOWHERE -> devices[d].owes = 0; acknowledged[d]++; kept[d]++ };
		atomic {
			devices[d].at == NOWHERE || has_room(devices[d].at) ->
			if
			:: devices[d].at != NOWHERE -> outbox[devices[d].at]!REPORT, d, devices[d].session, 0
			:: else
			fi
		}
#else
	:: d_step {
		devices[d].owes && devices[d].at != NOWHERE && has_room(devices[d].at) ->
		outbox[devices[d].at]!REPORT, d, devices[d].session, 0;
		acknowledged[d]++;
		kept[d]++;
		devices[d].owes = 0
	}
#endif
	/* Leaves, and has forgotten what it had not begun when it is back. */
	:: d_step {
		moves > 0 && devices[d].at != NOWHERE && has_room(devices[d].at) ->
		moves--;
		outbox[devices[d].at]!DISCONNECTED, d, devices[d].session, 0;
		brokers[devices[d].at].told[d] = 0;
		devices[d].at = NOWHERE;
		devices[d].notice = 0
	}
	od
}

/* --- operators --- */

#define may_halt (nobody_claims || MUTANT == NO_HOLD)

/* ota.rollout_recall(); a cancelled rollout's devices do not wait any more either. */
inline recall_rows(becomes)
{
	for (i : 0 .. DEVICES - 1) {
		if
		:: is_untold(i) && MUTANT != KEEP_UNTOLD ->
			hand_back(i);
			rows[i].granted = 0;
			rows[i].ready = rows[i].ready && becomes != CANCELLED;
			rows[i].state = (becomes == CANCELLED -> CANCELLED : PENDING)
		:: rows[i].state == NOTIFIED && !(is_untold(i) && MUTANT != KEEP_UNTOLD) ->
			only_told_is_recalled = !rows[i].untold;
			assert(only_told_is_recalled);
			rows[i].state = becomes;
			rows[i].recall = 1;
			rows[i].retell = 0
		:: rows[i].state == PENDING ->
			rows[i].granted = 0;
			if
			:: becomes == CANCELLED -> rows[i].state = CANCELLED; rows[i].ready = 0
			:: else
			fi
		:: else
		fi
	}
	i = 0
}

#define LATE(b) brokers[b].late[i] = brokers[b].offer[i] > 0;

proctype operates()
{
	byte i;
end:
	do
	/* ota.halt_rollout() and ota.cancel_rollout(): they wait for claims, which hold the rollout. */
	:: d_step { halts > 0 && is_open && may_halt -> halts--; rollout = HALTED; recall_rows(RECALLED) }
	:: d_step { halts > 0 && is_open && may_halt -> halts--; rollout = ENDED; recall_rows(CANCELLED) }
	/* TELL_WITHIN_MS of plugin/store/feed.c have passed since. */
	:: d_step {
		(rollout == HALTED || rollout == ENDED) && !long_ago ->
		long_ago = 1;
		for (i : 0 .. DEVICES - 1) {
			each_broker(LATE)
		}
		i = 0
	}
	/* ota.resume_rollout(), with ota.rollout_reopen() */
	:: d_step {
		rollout == HALTED ->
		rollout = RUNNING;
		long_ago = 0;
		for (i : 0 .. DEVICES - 1) {
			rows[i].recall = 0;
			if
			:: rows[i].state == RECALLED ->
				rows[i].state = PENDING;
				rows[i].attempt++;
				rows[i].granted = 0;
				rows[i].ready = rows[i].listening
			:: else
			fi
		}
		i = 0
	}
	od
}

/* When nothing can happen any more: is all done that should be? */
proctype watches()
{
	byte d;
end:
	timeout;
	no_rollout_is_stuck = rollout == COMPLETED || rollout == ENDED;
	assert(no_rollout_is_stuck);
	for (d : 0 .. DEVICES - 1) {
		no_recall_is_left = !(rows[d].recall && rows[d].listening);
		assert(no_recall_is_left);
		/* What a dead broker's outbox keeps is written when somebody starts it again. */
		no_report_is_lost = acknowledged[d] == counted[d] + kept[d] && (kept[d] == 0 || CRASHES > 0 && a_broker_is_dead);
		assert(no_report_is_lost)
	}
}

init {
	byte n;
	atomic {
		for (n : 0 .. DEVICES - 1) {
			devices[n].at = NOWHERE;
			rows[n].at = NOWHERE;
			rows[n].broker = NOBODY
		}
		n = 0;
		for (n : 0 .. BROKERS - 1) {
			brokers[n].up = 1;
			brokers[n].claiming = NONE;
			run folds(n);
			run controls(n);
			run hands_out(n);
			run gates(n);
			run lives(n)
		}
		n = 0;
		for (n : 0 .. DEVICES - 1) {
			run updates(n)
		}
		n = 0;
		run operates();
		run watches()
	}
}

#ifdef LIVENESS
ltl every_rollout_ends { <> (rollout == COMPLETED || rollout == ENDED) }
#endif
