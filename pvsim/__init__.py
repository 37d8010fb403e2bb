"""Simulated electricity meters and PV systems that run as real Linux services.

Words, each with one meaning in all of the code, beside those of everyday AMQP and of pvlib's nomenclature:

  reading         what a meter measured at one instant: meter id, time, W
  instant         ns since the epoch; a name ends in _ns, seconds in _s
  span            from one instant up to and without another one
  interval        ns between two readings of a meter, which lie on the grid of its multiples
  fleet           the meters that one process runs
  track           how far one meter is, and the gaps that it has; a progress file holds tracks
  gap             instants of which a meter makes no reading, for it was told to stop
  confirmed       what the broker has confirmed; settled: confirmed for so long that no crash takes it back
  due             what a meter is to have sent by now; behind: what is due and not confirmed
  linger          how long readings are gathered, to share a message
  slot            the instant with whose readings a reading is sent; only faults make it another than its own
  history         a span of the past, or a faster clock, that a meter service is asked for
  row             one reading with its PV power and their sum: a line of a day file
  key             of a row: what tells its reading from others; of a section: its name in an ini file
  stretch         rows of a day file that follow each other in order
  commit          rows made durable, then their messages acknowledged
  live copy       the newest durable row of a meter, sent once more, for whoever looks
  set aside       moved to the queue of what is no reading, whole and with the reason
  admission       what a queue goes through before it is relied on
  outcome         how a message has ended: confirmed, refused, silent and so on
  ledger          what the broker was asked and has not answered
  mark            what tells a meter that somebody else has declared its queue
  link            what leads to the broker; side: a second connection, for what may hang
  rota            the order in which the nodes of a broker are tried; turn: when it is somebody's time in a row of many
  trouble         why something waits, a sentence for people
  told            what a service was ordered, or somebody was informed of; said: what a file says of itself
  model           a function from instants to powers; profile: a recorded one
  draw            something that is on in a household: from when, until when, mW
  use             one run of an appliance, in stages
  routine         what a household does on workdays
  fault           what goes wrong with a meter on purpose: in spans, or in periods
  head            what is known of a profile's file by its header; body: the lines below
  round           how long a profile takes until it begins again
"""

__version__ = "0.1.0"
