from leasehold.client.job import Job as Job
from leasehold.client.job import JobFailed as JobFailed
from leasehold.client.job_ask import JobOptions as JobOptions
from leasehold.client.job_call import JobError as JobError
from leasehold.client.job_call import JobRefused as JobRefused
from leasehold.client.job_call import NoServer as NoServer
from leasehold.client.lease import Lease as Lease
from leasehold.client.lease import LeaseLost as LeaseLost
from leasehold.client.lease import LeaseOptions as LeaseOptions
from leasehold.client.lease import NotGranted as NotGranted
from leasehold.client.lease import current_lease as current_lease
from leasehold.client.lease import lease as lease
from leasehold.client.submit import SomeRefused as SomeRefused
from leasehold.client.submit import submit as submit
from leasehold.client.submit import submit_async as submit_async
from leasehold.client.submit import submit_command as submit_command
from leasehold.client.submit import submit_command_async as submit_command_async
from leasehold.client.submit import submit_many as submit_many
from leasehold.client.submit import submit_many_async as submit_many_async
from leasehold.client.task import Task as Task
from leasehold.client.task import job as job
from leasehold.client.work import JobContext as JobContext
from leasehold.client.work import Permanent as Permanent
from leasehold.client.work import current_job as current_job
from leasehold.client.worker import Worker as Worker

__version__: str
