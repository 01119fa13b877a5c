"""Report of a run for people: ``report.html``, one page without any request to the network, and ``report.md``.

Read in this order: ``content`` (what a report holds), ``collect`` (where it comes from), ``words`` (how numbers are
said), ``text`` and ``charts`` (what is made safe and how), ``page`` and ``markdown`` (the two forms).
"""
