"""The promises of the queue: durable work that runs when nobody is disturbed."""

from accept.queue import crash as crash
from accept.queue import figures as figures
from accept.queue import jobs as jobs
from accept.queue import order as order
from accept.queue import page as page
from accept.queue import power as power
from accept.queue import replay as replay
from accept.queue import schedules as schedules
